package nacos

import (
	"github.com/nacos-group/nacos-sdk-go/v2/common/logger"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
)

// What has to be in place before the SDK's messages are used: without a logger of its own the SDK writes to standard error,
// and the table of answers is a plain map.
func init() {
	logger.SetLogger(silent{})
	rpc_response.ClientResponseMapping["ServerCheckResponse"] = func() rpc_response.IResponse {
		return &rpc_response.ServerCheckResponse{Response: &rpc_response.Response{}}
	}
	rpc_response.ClientResponseMapping["ConfigFuzzyWatchResponse"] = func() rpc_response.IResponse {
		return &fuzzyResponse{Response: &rpc_response.Response{}, kind: "ConfigFuzzyWatchResponse"}
	}
}

// silent is the SDK's logger. Whatever the SDK has to say is found out, and said, by our own code.
type silent struct{}

func (silent) Info(...any)           {}
func (silent) Warn(...any)           {}
func (silent) Error(...any)          {}
func (silent) Debug(...any)          {}
func (silent) Infof(string, ...any)  {}
func (silent) Warnf(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Debugf(string, ...any) {}
func (silent) Close() error          { return nil }

// The fuzzy watch (Nacos 3.0 and newer) is not in the SDK. Field names as in Nacos's
// com.alibaba.nacos.api.config.remote.request.ConfigFuzzyWatch*Request.

type fuzzyWatchRequest struct {
	*rpc_request.Request
	GroupKeyPattern   string   `json:"groupKeyPattern"`
	ReceivedGroupKeys []string `json:"receivedGroupKeys"`
	WatchType         string   `json:"watchType"`
	Initializing      bool     `json:"initializing"`
	Module            string   `json:"module"`
}

func (*fuzzyWatchRequest) GetRequestType() string { return "ConfigFuzzyWatchRequest" }

type fuzzySyncRequest struct {
	*rpc_request.Request
	GroupKeyPattern string `json:"groupKeyPattern"`
	Contexts        []struct {
		GroupKey    string `json:"groupKey"`
		ChangedType string `json:"changedType"`
	} `json:"contexts"`
}

func (*fuzzySyncRequest) GetRequestType() string { return "ConfigFuzzyWatchSyncRequest" }

type fuzzyNotifyRequest struct {
	*rpc_request.Request
	GroupKey   string `json:"groupKey"`
	ChangeType string `json:"changeType"`
}

func (*fuzzyNotifyRequest) GetRequestType() string { return "ConfigFuzzyWatchChangeNotifyRequest" }

type fuzzyResponse struct {
	*rpc_response.Response
	kind string
}

func (r *fuzzyResponse) GetResponseType() string { return r.kind }

// answered acknowledges a push under the name that the server expects.
func answered(kind string) rpc_response.IResponse {
	return &fuzzyResponse{Response: success(), kind: kind}
}
