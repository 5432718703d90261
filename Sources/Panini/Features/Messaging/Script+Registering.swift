// Owns: listen, tasks, timers, hooks, filters as scripts register them. Worker's thread; at load time, and for listen at
// any time later.

import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import NATS
import ScriptRuntime

extension Script {
    func task(_ call: HostCall) throws(UsageError) -> CInt {
        try call.requireLoading()
        hooks.tasks.append(BackgroundTask(script: self, function: try call.keepFunction(1)))
        return 0
    }

    func onStartTask(_ call: HostCall) throws(UsageError) -> CInt {
        try call.requireLoading()
        hooks.startTasks.append(try call.keepFunction(1))
        return 0
    }

    func onReload(_ call: HostCall) throws(UsageError) -> CInt {
        try call.requireLoading()
        if let other = hooks.reloadHook {
            throw UsageError("app.on_reload: there is one already (\(other.origin)); one function hands over for all")
        }
        hooks.reloadHook = try call.keepFunction(1)
        return 0
    }

    func onStop(_ call: HostCall) throws(UsageError) -> CInt {
        try call.requireLoading()
        hooks.stopHooks.append(try call.keepFunction(1))
        return 0
    }

    func addFilters(_ call: HostCall) throws(UsageError) -> CInt {
        try call.requireLoading()
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError("app.add_filters: takes a table, as in app.add_filters{ include = { \"orders\" } }")
        }
        let options = try LuaOptions(call, 1, known: ["include", "exclude"])
        messaging.filters.exclude += try filterParts(options, "exclude")
        messaging.filters.include += try filterParts(options, "include")
        return 0
    }

    private func filterParts(_ options: LuaOptions, _ key: String) throws(UsageError) -> [String] {
        switch options[key] {
        case nil: return []
        case .string(let text): return [text]
        case .array(let items):
            var parts: [String] = []
            for item in items {
                guard case .string(let text) = item else { throw options.must("\"\(key)\"", "be a list of strings") }
                parts.append(text)
            }
            return parts
        case let value?: throw options.must("\"\(key)\"", "be a list of strings, not \(value.typeName)")
        }
    }

    // MARK: - Timers

    func timerTask(_ call: HostCall) throws(UsageError) -> CInt {
        try call.requireLoading()
        let interval = try call.seconds(1, "the interval")
        guard interval >= 0.001 else { throw UsageError("app.timer_task: the interval must be at least 0.001 s") }
        let place = try call.optionsAndHandler(2)
        let hasOptions = place.options != 0
        var name: String?
        var isImmediate = true
        var jitter = 0.0
        var mode = ServiceTimer.Mode.rate
        var eachWorker = false
        if hasOptions {
            let known = ["name", "immediate", "jitter", "mode", "each_worker"]
            let options = try LuaOptions(call, 2, known: known, .mustBe)
            eachWorker = try options.flag("each_worker") ?? eachWorker
            isImmediate = try options.flag("immediate") ?? isImmediate
            jitter = try options.seconds("jitter") ?? jitter
            if try options.choice("mode", of: ["rate", "delay"]) == "delay" { mode = .delay }
            name = try options.text("name")
        }
        let function = try call.keepFunction(place.handler)
        timers.all.append(
            ServiceTimer(
                index: timers.all.count,
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

    func listen(_ call: HostCall) throws(UsageError) -> CInt {
        let isDynamic = phase != .loading
        let patterns: [SubjectPattern]
        switch try subjects(call) {
        case .success(let valid): patterns = valid
        case .failure(let error):
            // A subject made of what somebody sent may be too long without any mistake in the script.
            guard isDynamic, error.isTooLong else { throw UsageError("app.listen: \(error.message)") }
            return call.failure(CallError("too_large", error.message))
        }
        let place = try call.optionsAndHandler(2)
        let hasOptions = place.options != 0
        let options = hasOptions ? try listenerOptions(call) : ListenerOptions()
        if let refusal = options.refusal {
            guard isDynamic else { throw UsageError("app.listen: \(refusal.message)") }
            return call.failure(refusal)
        }
        if let denied = listenDenied(patterns) {
            guard isDynamic else { throw UsageError("app.listen: \(denied.message)") }
            return call.failure(denied)
        }
        try call.charge(patterns.count * Listener.chargePerSubject)
        if isDynamic { try requireSuspendable(call) }
        guard phase != .closed else { throw UsageError("app.listen: the service has stopped") }
        guard lifecycle.phase < .draining else {
            return call.failure(
                CallError("closed", "this version of the service has been replaced and takes no listeners")
            )
        }
        let layers = hasOptions ? try ownMiddlewares(call, 2, of: [.listenPublish, .listenRequest]) : []
        let isGuarded = hasOptions ? try hasValidator(call, 2, dataType: options.dataType) : false
        var handler = try call.keepFunction(place.handler, "the handler")
        if isGuarded { handler = guarded(call, options: 2, handler: handler, by: messaging.guardHost) }
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
        _ = panini_handle_push(call.L, messaging.handleType, listener.id)
        guard isDynamic, let service else {
            messaging.loadTimeListeners.insert(listener)
            return 1
        }
        return listenLater(call, listener, service)
    }

    /// Subscribes at once, and waits for the broker's word.
    private func listenLater(_ call: HostCall, _ listener: Listener, _ service: Service) -> CInt {
        guard let id = vm.running?.id else { return 0 }
        let handle = vm.makeReference(call.L)
        service.adopt(listener, options ?? service.options)
        if lifecycle.isStaged { listener.places = 0 }
        for subject in listener.subjects {
            guard let error = service.subscribe(subject, of: listener) else { continue }
            vm.release(handle)
            service.end(listener)
            return call.failure(error)
        }
        nextWait = .outside
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

    private func subjects(_ call: HostCall) throws(UsageError) -> Result<[SubjectPattern], SubjectPattern.Invalid> {
        var texts: [String] = []
        if call.type(1) == LUA_TTABLE {
            let value: PlainValue
            do throws(PlainValue.Unreadable) {
                value = try PlainValue(call.L, 1, vm: vm)
            } catch {
                throw UsageError("app.listen: \(error.message)")
            }
            guard case .array(let items) = value, !items.isEmpty else {
                throw UsageError("app.listen: the subjects must be a list of strings with at least one entry")
            }
            for item in items {
                guard case .string(let text) = item else {
                    throw UsageError("app.listen: a subject must be a string, not \(item.typeName)")
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

    private func listenerOptions(_ call: HostCall) throws(UsageError) -> ListenerOptions {
        var options = ListenerOptions()
        let known = [
            "queue", "data_type", "validator", "on_invalid", "concurrency", "timeout", "middlewares", "name",
            "metadata", "reply", "each_worker",
        ]
        // Validators and middlewares are no plain data, and are read from the table itself.
        let given = try LuaOptions(call, 2, known: known, .mustBe)
        options.concurrency = try given.integer("concurrency", in: 1...1_000_000) ?? options.concurrency
        if let name = try given.text("data_type") { options.dataType = try SendOptions.dataType(name, call) }
        options.eachWorker = try given.flag("each_worker") ?? options.eachWorker
        for (name, item) in try given.table("metadata", called: "a table of strings") ?? [] {
            guard case .string(let text) = item else {
                throw given.must("metadata", "hold strings only; \"\(name)\" is \(item.typeName)")
            }
            options.metadata[name] = text
        }
        if let name = try given.text("name") {
            guard !name.isEmpty, name.utf8.allSatisfy(isNameByte) else {
                throw UsageError("app.listen: name may have letters, digits, _ and - only, not \"\(name)\"")
            }
            options.name = name
        }
        try readQueue(given, into: &options)
        options.replies = try given.flag("reply") ?? options.replies
        options.timeout = try given.seconds("timeout", in: 0.001...86400) ?? options.timeout
        if options.eachWorker, case .some(.some(let group)) = options.queue {
            throw UsageError(
                "app.listen: each_worker gives every worker each message, queue = \"\(group)\" one of them: they exclude each other"
            )
        }
        return options
    }

    /// A group's name, or false for none.
    private func readQueue(_ given: LuaOptions, into options: inout ListenerOptions) throws(UsageError) {
        switch given["queue"] {
        case nil: break
        case .string(let text):
            do throws(SubjectPattern.Invalid) {
                try SubjectPattern.checkQueue(text)
            } catch {
                guard error.isTooLong else { throw UsageError("app.listen: \(error.message)") }
                options.refusal = CallError("too_large", error.message)
            }
            options.queue = .some(text)
        case .boolean(false): options.queue = .some(nil)
        case let value?: throw given.wrong("queue", value, "a string, or false")
        }
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

    func unsubscribe(_ call: HostCall) throws(UsageError) -> CInt {
        let text = try call.string(1, "the subject")
        let pattern: SubjectPattern
        do throws(SubjectPattern.Invalid) {
            pattern = try SubjectPattern(text)
        } catch {
            throw UsageError("app.unsubscribe: \(error.message)")
        }
        lua_pushinteger(call.L, lua_Integer(endListeners(of: pattern.subject)))
        return 1
    }

    private func endListeners(of subject: String) -> Int {
        guard let service else {
            let found = messaging.loadTimeListeners.listeners(to: subject)
            for listener in found { messaging.loadTimeListeners.remove(listener.id) }
            return found.count
        }
        return service.endListeners(of: subject, in: self)
    }

    /// `handle.unsubscribe()`: false when it had ended before.
    fileprivate func endListener(number: Int64) -> Bool {
        guard let service else {
            return messaging.loadTimeListeners.remove(number) != nil
        }
        guard let listener = messaging.listeners[number], !listener.isEnded else { return false }
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
