package nacos

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Requests with an access key are signed as Nacos's own clients do (ConfigResourceInjector and NamingResourceInjector of its
// Java client). HMAC-SHA1 is what the server takes.

// signDocuments gives the headers of a request about documents of a group, or of none.
func (c Config) signDocuments(group string, now time.Time) map[string]string {
	at := strconv.FormatInt(now.UnixMilli(), 10)
	signed := at
	resource := group
	if c.Namespace != "" {
		resource = c.Namespace + "+" + group
	}
	if strings.TrimSpace(resource) != "" {
		signed = resource + "+" + at
	}
	return map[string]string{"Spas-AccessKey": c.AccessKey, "Timestamp": at, "Spas-Signature": signature(signed, c.SecretKey.Reveal())}
}

// signService gives the headers of a request about a service, or about none.
func (c Config) signService(ref ServiceRef, now time.Time) map[string]string {
	data := strconv.FormatInt(now.UnixMilli(), 10)
	name := ref.Service
	if ref.Group != "" && !strings.Contains(name, "@@") {
		name = ref.Group + "@@" + name
	}
	if name != "" {
		data += "@@" + name
	}
	return map[string]string{"ak": c.AccessKey, "data": data, "signature": signature(data, c.SecretKey.Reveal())}
}

func signature(text, key string) string {
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
