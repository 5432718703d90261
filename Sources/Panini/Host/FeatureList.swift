// Owns: the list of features. A new one adds its folder, and a line here.

/// What the host is made of, beside the runtime.
enum FeatureList {
    /// In the order in which they are made and asked; one that needs another stands behind it.
    static let all: [Feature] = [
        .kernel,
        .library,
        .messaging,
        .timers,
        .http,
        .middlewares,
        .telemetry,
        .fetch,
        .webSockets,
        .validation,
        .logging,
        .sharedStore,
        .hooks,
        .embedding,
    ]
}

extension PaniniMiddlewareKind: CaseIterable {
    /// Those of all features, in the order in which errors name them.
    public static let allCases: [PaniniMiddlewareKind] = FeatureList.all.flatMap(\.middlewareKinds)
}

extension PermissionDefinition {
    /// Every permission, in the order of the documentation.
    public static let all: [PermissionDefinition] = builtIn + FeatureList.all.flatMap(\.permissions)
}

extension OptionDefinition {
    /// Every option, in the order of the documentation.
    public static let all: [OptionDefinition] = builtIn + FeatureList.all.flatMap(\.options)
}
