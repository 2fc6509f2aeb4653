package wire

// Methods of MCP. Envelope.Method of a known method is one of these very strings.
const (
	MethodInitialize            = "initialize"
	MethodDiscover              = "server/discover"
	MethodPing                  = "ping"
	MethodToolsList             = "tools/list"
	MethodToolsCall             = "tools/call"
	MethodResourcesList         = "resources/list"
	MethodResourceTemplatesList = "resources/templates/list"
	MethodResourcesRead         = "resources/read"
	MethodResourcesSubscribe    = "resources/subscribe"
	MethodResourcesUnsubscribe  = "resources/unsubscribe"
	MethodPromptsList           = "prompts/list"
	MethodPromptsGet            = "prompts/get"
	MethodComplete              = "completion/complete"
	MethodSetLevel              = "logging/setLevel"
	MethodListen                = "subscriptions/listen"
	MethodTasksGet              = "tasks/get"
	MethodTasksResult           = "tasks/result"
	MethodTasksList             = "tasks/list"
	MethodTasksCancel           = "tasks/cancel"
	MethodTasksUpdate           = "tasks/update"
	MethodSampling              = "sampling/createMessage"
	MethodElicit                = "elicitation/create"
	MethodRootsList             = "roots/list"

	NotificationInitialized          = "notifications/initialized"
	NotificationCancelled            = "notifications/cancelled"
	NotificationProgress             = "notifications/progress"
	NotificationMessage              = "notifications/message"
	NotificationRootsListChanged     = "notifications/roots/list_changed"
	NotificationToolsListChanged     = "notifications/tools/list_changed"
	NotificationPromptsListChanged   = "notifications/prompts/list_changed"
	NotificationResourcesListChanged = "notifications/resources/list_changed"
	NotificationResourcesUpdated     = "notifications/resources/updated"
	NotificationAcknowledged         = "notifications/subscriptions/acknowledged"
)

// intern gives the constant of a known method without allocating, "" for others.
func intern(m []byte) string {
	switch string(m) {
	case MethodToolsCall:
		return MethodToolsCall
	case MethodToolsList:
		return MethodToolsList
	case MethodInitialize:
		return MethodInitialize
	case MethodDiscover:
		return MethodDiscover
	case MethodPing:
		return MethodPing
	case MethodResourcesList:
		return MethodResourcesList
	case MethodResourceTemplatesList:
		return MethodResourceTemplatesList
	case MethodResourcesRead:
		return MethodResourcesRead
	case MethodResourcesSubscribe:
		return MethodResourcesSubscribe
	case MethodResourcesUnsubscribe:
		return MethodResourcesUnsubscribe
	case MethodPromptsList:
		return MethodPromptsList
	case MethodPromptsGet:
		return MethodPromptsGet
	case MethodComplete:
		return MethodComplete
	case MethodSetLevel:
		return MethodSetLevel
	case MethodListen:
		return MethodListen
	case MethodTasksGet:
		return MethodTasksGet
	case MethodTasksResult:
		return MethodTasksResult
	case MethodTasksList:
		return MethodTasksList
	case MethodTasksCancel:
		return MethodTasksCancel
	case MethodTasksUpdate:
		return MethodTasksUpdate
	case MethodSampling:
		return MethodSampling
	case MethodElicit:
		return MethodElicit
	case MethodRootsList:
		return MethodRootsList
	case NotificationInitialized:
		return NotificationInitialized
	case NotificationCancelled:
		return NotificationCancelled
	case NotificationProgress:
		return NotificationProgress
	case NotificationMessage:
		return NotificationMessage
	case NotificationRootsListChanged:
		return NotificationRootsListChanged
	case NotificationToolsListChanged:
		return NotificationToolsListChanged
	case NotificationPromptsListChanged:
		return NotificationPromptsListChanged
	case NotificationResourcesListChanged:
		return NotificationResourcesListChanged
	case NotificationResourcesUpdated:
		return NotificationResourcesUpdated
	case NotificationAcknowledged:
		return NotificationAcknowledged
	}
	return ""
}

// Named tells which of params' fields a method acts on and Mcp-Name repeats: "name", "uri" or "".
func Named(method string) string {
	switch method {
	case MethodToolsCall, MethodPromptsGet:
		return "name"
	case MethodResourcesRead:
		return "uri"
	}
	return ""
}
