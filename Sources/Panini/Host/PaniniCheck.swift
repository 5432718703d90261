// Owns: what a script registered, as a report, and `panini check`. Any thread.

public import Logging
import ScriptRuntime

extension PaniniServiceReport {
    init(_ script: Script, options: AppOptions, clientName: String?) {
        serviceName = options.serviceName
        version = options.version
        self.clientName = clientName
        listeners = script.messaging.loadTimeListeners.flatMap { listener in
            listener.subjects.filter { script.messaging.filters.admits($0.pattern.subject) }.map { subject in
                let queue = listener.options.queueGroup(ofApp: options.queueGroup)
                return Listener(subject: subject.pattern.subject, queue: queue, name: listener.options.name)
            }
        }
        timers = script.timers.all.map { Timer(name: $0.name, interval: Double($0.intervalNanoseconds) / 1e9) }
        tasks = script.hooks.tasks.count
        routes = script.http.routes.all.map { route in
            Route(
                method: route.webSocket == nil ? route.method : "WEBSOCKET",
                path: route.path,
                subjects: route.webSocket?.bridge?.permissions.patterns ?? []
            )
        }
        registrations = script.features.all.flatMap(\.listed).map { listed in
            Registration(
                kind: listed.kind,
                name: listed.name,
                details: listed.details.map { Registration.Detail(name: $0.name, value: $0.value) }
            )
        }
    }
}

extension Service {
    var report: PaniniServiceReport {
        PaniniServiceReport(script, options: options, clientName: clientName)
    }
}

/// Loading a script without running it as a service.
public enum PaniniCheck {
    /// Loads a script, which runs its file, and tells what it would serve. Connects to nothing.
    ///
    /// - Parameters:
    ///   - path: The script's path.
    ///   - overrides: Options from outside the script.
    ///   - logger: Where what the script prints while loading goes.
    ///   - modules: The Swift functions that the script is going to have.
    ///   - registrations: What Swift is going to register beside the script.
    /// - Returns: What the script registered.
    /// - Throws: ``PaniniError`` with the file and line of the mistake.
    public static func check(
        path: String,
        overrides: PaniniOverrides = PaniniOverrides(),
        logger: Logger,
        modules: [PaniniModule] = [],
        registrations: PaniniRegistrations = PaniniRegistrations()
    ) throws(PaniniError) -> PaniniServiceReport {
        let place = ScriptPlace(modules: modules, registrations: registrations)
        let script = try ServiceLoader.loadScript(path, overrides: overrides, logger: logger, place: place)
        defer { script.close() }
        guard let options = script.options else {
            throw PaniniError(code: .noApp, message: "\(path): the script made no app; it calls panini.app{...} once")
        }
        return PaniniServiceReport(script, options: options, clientName: options.clientName)
    }
}
