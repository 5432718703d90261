// Owns: listen, tasks, timers, hooks, filters as scripts register them. Worker's thread; at load time, and for listen at
// any time later.

import CLuaShim
import Logging
import LuaVM
import NATS

extension Script {
    private func requireLoading(_ call: HostCall) throws(Misuse) {
        guard phase == .loading else {
            throw Misuse("\(call.name) registers while the file runs; it cannot be called later")
        }
    }

    /// Keeps the function at an index.
    private func keep(
        _ call: HostCall,
        _ index: CInt,
        _ what: StaticString = "the function"
    ) throws(Misuse) -> RegisteredFunction {
        try call.requireFunction(index, what)
        try call.charge(256)
        let origin = origin(call.L, index)
        lua_pushvalue(call.L, index)
        return RegisteredFunction(function: vm.makeReference(call.L), origin: origin)
    }

    func task(_ call: HostCall) throws(Misuse) -> CInt {
        try requireLoading(call)
        registrations.tasks.append(try keep(call, 1))
        return 0
    }

    func onStartTask(_ call: HostCall) throws(Misuse) -> CInt {
        try requireLoading(call)
        registrations.startTasks.append(try keep(call, 1))
        return 0
    }

    func onReload(_ call: HostCall) throws(Misuse) -> CInt {
        try requireLoading(call)
        if let other = registrations.reloadHook {
            throw Misuse("app.on_reload: there is one already (\(other.origin)); one function hands over for all")
        }
        registrations.reloadHook = try keep(call, 1)
        return 0
    }

    func onStop(_ call: HostCall) throws(Misuse) -> CInt {
        try requireLoading(call)
        registrations.stopHooks.append(try keep(call, 1))
        return 0
    }

    func addFilters(_ call: HostCall) throws(Misuse) -> CInt {
        try requireLoading(call)
        guard call.type(1) == LUA_TTABLE else {
            throw Misuse("app.add_filters: takes a table, as in app.add_filters{ include = { \"orders\" } }")
        }
        for (key, value) in try call.options(1, known: ["include", "exclude"]) {
            var parts: [String] = []
            switch value {
            case .string(let text): parts = [text]
            case .array(let items):
                for item in items {
                    guard case .string(let text) = item else {
                        throw Misuse("app.add_filters: \"\(key)\" must be a list of strings")
                    }
                    parts.append(text)
                }
            default: throw Misuse("app.add_filters: \"\(key)\" must be a list of strings, not \(value.typeName)")
            }
            if key == "include" {
                registrations.filters.include += parts
            } else {
                registrations.filters.exclude += parts
            }
        }
        return 0
    }

    // MARK: - Timers

    func timerTask(_ call: HostCall) throws(Misuse) -> CInt {
        try requireLoading(call)
        let interval = try call.seconds(1, "the interval")
        guard interval >= 0.001 else { throw Misuse("app.timer_task: the interval must be at least 0.001 s") }
        let place = try call.optionsAndHandler(2)
        let hasOptions = place.options != 0
        var name: String?
        var isImmediate = true
        var jitter = 0.0
        var mode = ServiceTimer.Mode.rate
        var eachWorker = false
        if hasOptions {
            for (key, value) in try call.options(2, known: ["name", "immediate", "jitter", "mode", "each_worker"]) {
                switch (key, value) {
                case ("name", .string(let text)): name = text
                case ("immediate", .boolean(let flag)): isImmediate = flag
                case ("jitter", .integer(let seconds)):
                    jitter = try HostCall.checkSeconds(Double(seconds), "app.timer_task: jitter")
                case ("jitter", .number(let seconds)):
                    jitter = try HostCall.checkSeconds(seconds, "app.timer_task: jitter")
                case ("mode", .string("rate")): mode = .rate
                case ("mode", .string("delay")): mode = .delay
                case ("mode", .string(let text)):
                    throw Misuse("app.timer_task: mode must be \"rate\" or \"delay\", not \"\(text)\"")
                case ("each_worker", .boolean(let flag)): eachWorker = flag
                default:
                    let type =
                        ["each_worker", "immediate"].contains(key)
                        ? "true or false" : key == "jitter" ? "a number of seconds" : "a string"
                    throw Misuse("app.timer_task: \(key) must be \(type), not \(value.typeName)")
                }
            }
        }
        let function = try keep(call, place.handler)
        registrations.timers.append(
            ServiceTimer(
                index: registrations.timers.count,
                script: self,
                name: name,
                intervalNanoseconds: UInt64(nanoseconds(interval)),
                isImmediate: isImmediate,
                jitterNanoseconds: UInt64(nanoseconds(jitter)),
                mode: mode,
                eachWorker: eachWorker,
                function: function.function,
                origin: function.origin
            )
        )
        return 0
    }

    // MARK: - Listeners

    func listen(_ call: HostCall) throws(Misuse) -> CInt {
        let isDynamic = phase != .loading
        let patterns: [SubjectPattern]
        switch try subjects(call) {
        case .success(let valid): patterns = valid
        case .failure(let error):
            // A subject made of what somebody sent may be too long without any mistake in the script.
            guard isDynamic, error.isTooLong else { throw Misuse("app.listen: \(error.message)") }
            return call.failure(CallError("too_large", error.message))
        }
        let place = try call.optionsAndHandler(2)
        let hasOptions = place.options != 0
        let options = hasOptions ? try listenerOptions(call) : ListenerOptions()
        if let refusal = options.refusal {
            guard isDynamic else { throw Misuse("app.listen: \(refusal.message)") }
            return call.failure(refusal)
        }
        if let denied = listenDenied(patterns) {
            guard isDynamic else { throw Misuse("app.listen: \(denied.message)") }
            return call.failure(denied)
        }
        try call.charge(patterns.count * Listener.chargePerSubject)
        if isDynamic { try requireSuspendable(call) }
        guard phase != .closed else { throw Misuse("app.listen: the service has stopped") }
        guard standing != .draining, standing != .retired else {
            return call.failure(
                CallError("closed", "this version of the service has been replaced and takes no listeners")
            )
        }
        let layers = hasOptions ? try ownMiddlewares(call, 2, of: [.listenPublish, .listenRequest]) : []
        let isGuarded = hasOptions ? try hasValidator(call, 2, dataType: options.dataType) : false
        var handler = try keep(call, place.handler, "the handler")
        if isGuarded { handler = guarded(call, options: 2, handler: handler, by: guardHost) }
        let listener = Listener(
            id: makeHandleNumber(),
            script: self,
            options: options,
            handler: handler.function,
            middlewares: layers,
            origin: handler.origin,
            subjects: patterns.map { ListenerSubject(pattern: $0, parameters: parameters(of: $0)) },
            isDynamic: isDynamic
        )
        compose(listener)
        _ = panini_handle_push(call.L, listenerHandleType, listener.id)
        guard isDynamic, let service else {
            registrations.listeners.insert(listener)
            return 1
        }
        return listenLater(call, listener, service)
    }

    /// Subscribes at once, and waits for the broker's word.
    private func listenLater(_ call: HostCall, _ listener: Listener, _ service: Service) -> CInt {
        guard let id = vm.running?.id else { return 0 }
        let handle = vm.makeReference(call.L)
        service.adopt(listener, options ?? service.options)
        if standing == .staged { listener.places = 0 }
        for subject in listener.subjects {
            guard let error = service.subscribe(subject, of: listener) else { continue }
            vm.release(handle)
            service.end(listener)
            return call.failure(error)
        }
        nextWait = .barrier
        service.barrier(seconds: 10, publishing: []) { [self] failure in
            if let denied = listener.subjects.first(where: { $0.denial != nil }) {
                vm.release(handle)
                service.end(listener)
                return wake(id, .failure(CallError("permission", denied.denial ?? "denied")))
            }
            // Without a connection the subscription stands all the same: it is made with the next one.
            if let failure, failure.code != .text("disconnected") {
                vm.release(handle)
                service.end(listener)
                return wake(id, .failure(failure))
            }
            wake(id, .reference(handle))
        }
        return LuaVM.suspend
    }

    private func subjects(_ call: HostCall) throws(Misuse) -> Result<[SubjectPattern], SubjectPattern.Invalid> {
        var texts: [String] = []
        if call.type(1) == LUA_TTABLE {
            let value: PlainValue
            do throws(PlainValue.Unreadable) {
                value = try PlainValue(call.L, 1, vm: vm)
            } catch {
                throw Misuse("app.listen: \(error.message)")
            }
            guard case .array(let items) = value, !items.isEmpty else {
                throw Misuse("app.listen: the subjects must be a list of strings with at least one entry")
            }
            for item in items {
                guard case .string(let text) = item else {
                    throw Misuse("app.listen: a subject must be a string, not \(item.typeName)")
                }
                texts.append(text)
            }
        } else {
            texts = [try call.string(1, "the subject")]
        }
        var patterns: [SubjectPattern] = []
        do throws(SubjectPattern.Invalid) {
            for text in texts { patterns.append(try SubjectPattern(text)) }
        } catch {
            return .failure(error)
        }
        return .success(patterns)
    }

    private func listenerOptions(_ call: HostCall) throws(Misuse) -> ListenerOptions {
        var options = ListenerOptions()
        let known = [
            "queue", "data_type", "validator", "on_invalid", "concurrency", "timeout", "middlewares", "name",
            "metadata", "reply", "each_worker",
        ]
        for (key, value) in try call.options(2, known: known) {
            switch (key, value) {
            case ("queue", .string(let text)):
                do throws(SubjectPattern.Invalid) {
                    try SubjectPattern.checkQueue(text)
                } catch {
                    guard error.isTooLong else { throw Misuse("app.listen: \(error.message)") }
                    options.refusal = CallError("too_large", error.message)
                }
                options.queue = .some(text)
            case ("queue", .boolean(false)): options.queue = .some(nil)
            case ("data_type", .string(let text)): options.dataType = try SendOptions.dataType(text, call)
            case ("concurrency", .integer(let number)):
                guard (1...1_000_000).contains(number) else {
                    throw Misuse("app.listen: concurrency must be from 1 to 1000000, not \(number)")
                }
                options.concurrency = Int(number)
            case ("timeout", .integer(let seconds)): options.timeout = try listenerTimeout(Double(seconds))
            case ("timeout", .number(let seconds)): options.timeout = try listenerTimeout(seconds)
            case ("name", .string(let text)):
                guard !text.isEmpty, text.utf8.allSatisfy(isNameByte) else {
                    throw Misuse("app.listen: name may have letters, digits, _ and - only, not \"\(text)\"")
                }
                options.name = text
            case ("metadata", .object(let members)):
                for (name, item) in members {
                    guard case .string(let text) = item else {
                        throw Misuse("app.listen: metadata must hold strings only; \"\(name)\" is \(item.typeName)")
                    }
                    options.metadata[name] = text
                }
            case ("metadata", .array(let items)) where items.isEmpty: break
            case ("reply", .boolean(let flag)): options.replies = flag
            case ("each_worker", .boolean(let flag)): options.eachWorker = flag
            // Read from the table itself: they are no plain data.
            case ("validator", _), ("on_invalid", _), ("middlewares", _): break
            default: throw Misuse("app.listen: \(key) must be \(Self.listenOptionType(key)), not \(value.typeName)")
            }
        }
        if options.eachWorker, case .some(.some(let group)) = options.queue {
            throw Misuse(
                "app.listen: each_worker gives every worker each message, queue = \"\(group)\" one of them: they exclude each other"
            )
        }
        return options
    }

    /// What a value of an option of `app.listen` is.
    private static func listenOptionType(_ key: String) -> String {
        switch key {
        case "queue": "a string, or false"
        case "each_worker", "reply": "true or false"
        case "concurrency": "a whole number"
        case "timeout": "a number of seconds"
        case "metadata": "a table of strings"
        default: "a string"
        }
    }

    private func listenerTimeout(_ seconds: Double) throws(Misuse) -> Double {
        guard seconds >= 0.001, seconds <= 86400 else {
            throw Misuse("app.listen: timeout must be a number of seconds from 0.001 to 86400, not \(seconds)")
        }
        return seconds
    }

    /// The registry's table of a pattern's named tokens.
    func parameters(of pattern: SubjectPattern) -> LuaReference? {
        guard !pattern.parameters.isEmpty else { return nil }
        let L = vm.state
        lua_createtable(L, CInt(pattern.parameters.count * 2), 0)
        for (position, parameter) in pattern.parameters.enumerated() {
            vm.pushString(L, parameter.name)
            lua_rawseti(L, -2, lua_Integer(position * 2 + 1))
            lua_pushinteger(L, lua_Integer(parameter.index))
            lua_rawseti(L, -2, lua_Integer(position * 2 + 2))
        }
        return vm.makeReference(L)
    }

    func unsubscribe(_ call: HostCall) throws(Misuse) -> CInt {
        let text = try call.string(1, "the subject")
        let pattern: SubjectPattern
        do throws(SubjectPattern.Invalid) {
            pattern = try SubjectPattern(text)
        } catch {
            throw Misuse("app.unsubscribe: \(error.message)")
        }
        lua_pushinteger(call.L, lua_Integer(endListeners(of: pattern.subject)))
        return 1
    }

    private func endListeners(of subject: String) -> Int {
        guard let service else {
            let found = registrations.listeners.listeners(to: subject)
            for listener in found { registrations.listeners.remove(listener.id) }
            return found.count
        }
        return service.endListeners(of: subject, in: self)
    }

    /// `handle.unsubscribe()`: false when it had ended before.
    fileprivate func endListener(number: Int64) -> Bool {
        guard let service else {
            return registrations.listeners.remove(number) != nil
        }
        guard let listener = listeners[number], !listener.isEnded else { return false }
        service.end(listener)
        return true
    }
}

/// The method of a listener's handle.
let unsubscribeHandle: panini_handle_function = { L, context, handle in
    let ended = Script.from(context).endListener(number: handle.unsafelyUnwrapped.pointee.id)
    lua_pushboolean(L, ended ? 1 : 0)
    return 1
}
