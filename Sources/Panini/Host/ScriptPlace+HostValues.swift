// Owns: what the host gives to the features of a script. Values; any thread.

import Logging
import PaniniObservability
import ScriptRuntime

extension ScriptPlace {
    /// - Parameters:
    ///   - shared: What the workers of a service share, and what host features give; nil: the script has values of its own.
    ///   - modules: What the program around the host offers.
    ///   - registrations: What it registers beside the script.
    ///   - instruments: The backends that it has for metrics and traces.
    ///   - list: What scripts are made of.
    ///   - api: What they find of it, where that has been made already.
    init(
        generation: Int = 1,
        worker: Int = 0,
        workers: Int = 1,
        clientName: String? = nil,
        threadName: String? = nil,
        shared: [any Sendable]? = nil,
        sources: SourceFiles = SourceFiles(),
        modules: [PaniniModule] = [],
        registrations: PaniniRegistrations = PaniniRegistrations(),
        instruments: HostTelemetry? = nil,
        features list: [Feature] = FeatureList.all,
        api: ScriptAPI? = nil
    ) {
        self.init()
        self.generation = generation
        self.worker = worker
        self.workers = workers
        self.clientName = clientName
        self.threadName = threadName
        self.sources = sources
        features = [VersionState.self] + list.compactMap(\.version)
        options = list.flatMap(\.options)
        self[MiddlewareKinds.self] = MiddlewareKinds(list.flatMap(\.middlewareKinds))
        self[ScriptAPI.self] = api ?? ScriptAPI(list)
        for value in shared ?? list.flatMap(\.shared).map({ $0() }) { give(value) }
        self[[PaniniModule].self] = modules
        self[PaniniRegistrations.self] = registrations
        self[HostTelemetry.self] = instruments
    }

    /// The connection's name, which stays over reloads; nil: it is made up.
    var clientName: String? {
        get { self[ClientName.self]?.text }
        set { self[ClientName.self] = newValue.map { ClientName(text: $0) } }
    }

    /// The files of this version, read once for all workers.
    var sources: SourceFiles {
        get { self[SourceFiles.self] ?? SourceFiles() }
        set { self[SourceFiles.self] = newValue }
    }

    /// The options that features bring.
    var options: [OptionDefinition] {
        get { self[[OptionDefinition].self] ?? [] }
        set { self[[OptionDefinition].self] = newValue }
    }

    /// The tables that scripts see.
    var api: ScriptAPI {
        guard let api = self[ScriptAPI.self] else { preconditionFailure("a script of a service has its tables") }
        return api
    }

    private struct ClientName: Sendable {
        let text: String
    }

    /// With all features, and nothing from outside.
    static var plain: ScriptPlace { ScriptPlace(features: FeatureList.all) }
}

extension Script {
    /// A script with all features, and nothing from outside.
    convenience init(path: String, overrides: PaniniOverrides, logger: Logger) throws(PaniniError) {
        try self.init(path: path, overrides: overrides, logger: logger, place: .plain)
    }
}
