// Owns: what a version of a script has of messaging: its listeners, the type of messages in its state, the replies that are under
// way. Loop-bound.

import Bytes
import CScriptObjects
import Glibc
import LuaVM
import ScriptRuntime

/// Listeners and messages of one version of a script.
final class ScriptMessaging: ScriptFeature {
    /// What the script listens to since its file has run.
    @exclusivity(unchecked) var loadTimeListeners = ListenerTable()
    var filters = SubjectFilters()
    /// The connection's name at the broker; made up when the options have none.
    var clientName = ""
    /// Everything it listens to, by number.
    var listeners = ListenerTable()
    /// Which numbers its plain listeners of a subject have, where several workers share them.
    private var ordinals: [ExactText: NumberPool] = [:]
    /// The headers that replies of Swift handlers will have, encoded, by their messages.
    var replyHeaders: [UnsafeMutablePointer<panini_message>: [UInt8]] = [:]
    /// Requests whose handlers have spawned functions, by their numbers.
    var spawnedRequests = SpawnedRequests()
    /// Registry references of the metatables of messages, and of listeners' handles.
    let messageType: CInt
    let handleType: CInt
    /// What the C side of messages calls; freed after the state is closed.
    private let callbacks: UnsafeMutablePointer<panini_message_callbacks>
    /// What the guards of listeners with a validator call; freed with the callbacks.
    let guardHost: UnsafeMutablePointer<panini_guard_host>

    required init(_ script: Script) {
        let context = Unmanaged.passUnretained(script).toOpaque()
        let vm = script.vm
        callbacks = .allocate(capacity: 1)
        callbacks.initialize(
            to: panini_message_callbacks(
                context: context,
                decode: decodeMessage,
                respond: respondToMessage,
                not_text: messageIsNoText
            )
        )
        panini_message_push_metatable(vm.state, callbacks)
        messageType = vm.makeReference(vm.state).index
        guardHost = .allocate(capacity: 1)
        guardHost.initialize(
            to: panini_guard_host(
                push_value: panini_message_push_data,
                push_context: callbacks,
                failed: messageFailedValidation,
                covered: logCoveredOfMessage,
                context: context,
                error_metatable: script.tables.errorType
            )
        )
        panini_handle_push_metatable(vm.state, "panini.listener", "unsubscribe", unsubscribeHandle, context)
        handleType = vm.makeReference(vm.state).index
        super.init(script)
    }

    override func prepare() { script.spawning.add(self) }

    override func appMade() {
        guard let options = script.options else { return }
        clientName =
            options.clientName ?? script.place.clientName ?? Self.makeClientName(service: options.serviceName)
    }

    /// The original's identity: service, container or not, a random part. It is a token of a subject: no dots.
    private static func makeClientName(service: String) -> String {
        let random = Int.random(in: 1...1_000_000)
        if let host = getenv("HOSTNAME"), host.pointee != 0 {
            let name = String(cString: host).map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "-" }
            return "\(service)__\(String(name))__\(random)"
        }
        return "\(service)__non_docker_env_\(Int.random(in: 1...1_000_000))__\(random)"
    }

    /// Subscriptions that still end at the broker keep the subjects, and neither the listeners nor the Lua state.
    override func close() {
        for listener in listeners { for subject in listener.subjects { subject.detach() } }
        for listener in loadTimeListeners { for subject in listener.subjects { subject.detach() } }
    }

    deinit {
        callbacks.deallocate()
        guardHost.deallocate()
    }

    /// The first free number for a plain listener of a subject.
    func takeOrdinal(of subject: String) -> Int {
        ordinals[ExactText(subject), default: NumberPool()].take()
    }

    func giveBack(ordinal: Int, of subject: String) {
        let key = ExactText(subject)
        ordinals[key]?.giveBack(ordinal)
        if ordinals[key]?.isUnused() == true { ordinals[key] = nil }
    }

    override var registered: [(name: String, form: String)] {
        let options = script.options
        return loadTimeListeners.flatMap { listener in
            listener.subjects.filter { filters.admits($0.pattern.subject) }.map { subject in
                let queue = listener.options.queueGroup(ofApp: options?.queueGroup)
                let form = [
                    queue ?? "-", "\(listener.options.dataType)", "\(listener.options.concurrency)",
                    "\(listener.options.timeout ?? 0)", listener.options.name ?? "", "\(listener.options.replies)",
                    "\(listener.options.eachWorker)",
                ]
                return (name: subject.pattern.subject, form: form.joined(separator: " "))
            }
        }
    }

    override var isBusy: Bool { !listeners.allSatisfy(\.pending.isEmpty) }
}

extension Script {
    var messaging: ScriptMessaging { features[ScriptMessaging.self] }
}
