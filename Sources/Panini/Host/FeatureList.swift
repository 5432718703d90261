// Owns: the list of features. A new one adds its folder, and a line here.

/// What the host is made of, beside the runtime.
enum FeatureList {
    /// In the order in which they are made and asked; one that needs another stands behind it.
    static let all: [Feature] = [
        Feature(
            ScriptMessaging.self,
            ServiceMessaging.self,
            middlewareKinds: [.sendPublish, .sendRequest, .listenPublish, .listenRequest]
        ),
        Feature(ScriptTimers.self, ServiceTimers.self),
        Feature(ScriptHTTP.self, ServiceHTTP.self, middlewareKinds: [.httpRequest]),
        Feature(ScriptMiddlewares.self),
        Feature(ScriptTelemetry.self, nil, HostMetrics.self),
        Feature(ScriptFetch.self, ServiceFetch.self),
        Feature(ScriptWebSockets.self, ServiceWebSockets.self),
        Feature(ScriptValidators.self),
        Feature(ScriptLogging.self),
        Feature(ScriptSharedStore.self),
        Feature(ScriptHooks.self, ServiceHooks.self),
        Feature(ScriptEmbedding.self),
    ]
}

extension OptionDefinition {
    /// Every option, in the order of the documentation.
    public static let all: [OptionDefinition] = builtIn + FeatureList.all.flatMap(\.options)
}
