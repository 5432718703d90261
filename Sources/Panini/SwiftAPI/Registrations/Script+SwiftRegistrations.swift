// Owns: making what Swift registers a part of one version of a script: the same listeners, timers and routes that the file
// itself makes, with a function of Swift for a handler. Worker's thread or a loading one, once the file has run.

import CLuaVM
import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

extension Script {
    /// Registers everything, unless the script made no app.
    func install(_ native: PaniniRegistrations) throws(PaniniError) {
        guard !native.isEmpty, options != nil else { return }
        for listener in native.listeners {
            try named("listener \(listener.subjects.joined(separator: ", "))") { () throws(UsageError) in
                try install(listener)
            }
        }
        for timer in native.timers {
            try named("timer\(timer.options.name.map { " \($0)" } ?? "")") { () throws(UsageError) in try install(timer)
            }
        }
        for route in native.routes {
            try named("\(route.method.name) \(route.path)") { () throws(UsageError) in try install(route) }
        }
    }

    /// Puts the registration's name before what is wrong with it.
    private func named(_ what: String, _ body: () throws(UsageError) -> Void) throws(PaniniError) {
        do throws(UsageError) {
            try body()
        } catch {
            throw PaniniError(
                code: .invalidOption,
                message: "\(path): \(what), registered in Swift: \(error.message)"
            )
        }
    }

    private static let origin = "Swift"

    /// The Lua function that calls a handler, in the registry.
    ///
    /// - Parameter host: Gives the second argument; nil for a handler without one.
    private func function(
        _ body: EmbeddedBody,
        named name: String,
        fedBy host: UnsafeMutablePointer<panini_guard_host>? = nil
    ) -> LuaReference {
        let L = vm.state
        lua_checkstack(L, 8)
        vm.pushHostFunction(
            EmbeddedFunction.entry,
            context: Unmanaged.passUnretained(keep(body, named: name)).toOpaque(),
            onto: L
        )
        if let host { panini_validator_push_feeder(L, host) }
        return vm.makeReference(L)
    }

    private func layers(
        _ middlewares: [any PaniniMiddleware],
        of kinds: [PaniniMiddlewareKind]
    ) throws(UsageError) -> [MiddlewareLayer] {
        guard middlewares.count <= ScriptMiddlewares.maximumLayers else {
            throw UsageError("more than \(ScriptMiddlewares.maximumLayers) middlewares")
        }
        var layers: [MiddlewareLayer] = []
        for middleware in middlewares {
            guard !middleware.kinds.isDisjoint(with: kinds) else {
                throw UsageError(
                    "the middleware \(type(of: middleware)) is for none of \(kinds.map(\.name).joined(separator: ", "))"
                )
            }
            layers.append(MiddlewareLayer(id: makeHandleNumber(), swiftMiddleware: adopt(middleware)))
        }
        return layers
    }

    private func seconds(
        _ duration: Duration,
        _ what: String,
        from least: Double,
        to most: Double
    ) throws(UsageError)
        -> Double
    {
        let seconds = duration / .seconds(1)
        guard seconds >= least, seconds <= most else {
            throw UsageError(
                "\(what) must be from \(formatted(least)) to \(formatted(most)) seconds, not \(formatted(seconds))"
            )
        }
        return seconds
    }

    // MARK: - Listeners

    private func install(_ native: SwiftListener) throws(UsageError) {
        var patterns: [SubjectPattern] = []
        do throws(SubjectPattern.Invalid) {
            for subject in native.subjects { patterns.append(try SubjectPattern(subject)) }
        } catch {
            throw UsageError(error.message)
        }
        let options = try listenerOptions(native.options)
        let layers = try layers(native.options.middlewares, of: [.listenPublish, .listenRequest])
        guard vm.charge(256 + patterns.count * Listener.chargePerSubject) else { throw UsageError(LuaVM.memoryText) }
        let name = "listener \(native.subjects.joined(separator: ", "))"
        let listener = Listener(
            id: makeHandleNumber(),
            script: self,
            options: options,
            handler: function(native.body, named: name, fedBy: native.takesData ? messaging.guardHost : nil),
            middlewares: layers,
            origin: Self.origin,
            subjects: patterns.map { ListenerSubject(pattern: $0, parameters: parameters(of: $0)) },
            isDynamic: false,
            isSwift: true
        )
        compose(listener)
        messaging.loadTimeListeners.insert(listener)
    }

    private func listenerOptions(_ native: PaniniListenerOptions) throws(UsageError) -> ListenerOptions {
        var options = ListenerOptions()
        switch native.queue {
        case .ofTheService: break
        case .none: options.queue = .some(nil)
        case .named(let name):
            do throws(SubjectPattern.Invalid) {
                try SubjectPattern.checkQueue(name)
            } catch {
                throw UsageError(error.message)
            }
            options.queue = .some(name)
        }
        switch native.dataType {
        case .json: options.dataType = .json
        case .string: options.dataType = .string
        case .bytes: options.dataType = .bytes
        }
        guard (1...1_000_000).contains(native.concurrency) else {
            throw UsageError("concurrency must be from 1 to 1000000, not \(native.concurrency)")
        }
        options.concurrency = native.concurrency
        if let timeout = native.timeout { options.timeout = try seconds(timeout, "timeout", from: 0.001, to: 86400) }
        if let name = native.name {
            guard !name.isEmpty, name.utf8.allSatisfy(isNameByte) else {
                throw UsageError("name may have letters, digits, _ and - only, not \"\(name)\"")
            }
            options.name = name
        }
        options.metadata = native.metadata
        options.replies = native.replies
        options.eachWorker = native.eachWorker
        if options.eachWorker, case .some(.some(let group)) = options.queue {
            throw UsageError("eachWorker and the queue group \"\(group)\" exclude each other")
        }
        return options
    }

    // MARK: - Timers

    private func install(_ native: SwiftTimer) throws(UsageError) {
        let year = 31_536_000.0
        let interval = try seconds(native.interval, "the interval", from: 0.001, to: year)
        let jitter = try seconds(native.options.jitter, "jitter", from: 0, to: year)
        timers.all.append(
            ServiceTimer(
                index: timers.all.count,
                script: self,
                name: native.options.name,
                intervalNanoseconds: UInt64(nanoseconds(interval)),
                isImmediate: native.options.immediate,
                jitterNanoseconds: UInt64(nanoseconds(jitter)),
                mode: native.options.mode == .rate ? .rate : .delay,
                eachWorker: native.options.eachWorker,
                function: function(native.body, named: "timer \(native.options.name ?? "every \(interval) s")"),
                origin: Self.origin
            )
        )
    }

    // MARK: - Routes

    private func install(_ native: SwiftRoute) throws(UsageError) {
        guard options?.webServer == true else {
            throw UsageError("this app serves no HTTP; say panini.app{ web_server = true, ... }")
        }
        let method = native.method.name
        guard method == "*" || !method.isEmpty && method.utf8.allSatisfy({ (65...90).contains($0) || $0 == 45 }) else {
            throw UsageError("\"\(method)\" is no method; * stands for all")
        }
        var timeout = options?.handlerTimeout ?? 30
        if let own = native.options.timeout { timeout = try seconds(own, "timeout", from: 0.001, to: 86400) }
        if let most = native.options.maximumBody, !(0...(1 << 40)).contains(most) {
            throw UsageError("maximumBody must be from 0 to \(1 << 40) bytes, not \(most)")
        }
        let layers = try layers(native.options.middlewares, of: [.httpRequest])
        do throws(HTTPRouteError) {
            let parameters = try HTTPRouteTable.names(of: native.path)
            let handler = function(
                native.body,
                named: "\(method) \(native.path)",
                fedBy: native.takesBody ? http.guardHost : nil
            )
            let route = HTTPRoute(
                script: self,
                method: method,
                path: native.path,
                parameters: parameters,
                handler: RegisteredFunction(function: handler, origin: Self.origin),
                middlewares: layers,
                maximumBody: native.options.maximumBody,
                timeoutNanoseconds: nanoseconds(timeout)
            )
            try http.routes.add(route)
            compose(route)
        } catch {
            throw UsageError(error.message)
        }
    }
}
