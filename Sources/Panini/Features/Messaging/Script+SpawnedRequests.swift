// Owns: the answers of requests whose handlers returned none and left it to functions that they spawned: a failure of such a
// function is the failure of the request, unless somebody has answered. Worker's thread.

import CScriptObjects
import LuaVM
import ScriptRuntime

extension ScriptMessaging: SpawnParent {
    /// The number under which what is spawned now shares the request that is being handled; 0: there is none to answer.
    var currentRequest: UInt64 {
        guard let message = script.current.message else { return 0 }
        guard message.pointee.request == 0 else { return message.pointee.request }
        guard message.pointee.reply_length > 0, message.pointee.flags & UInt8(PANINI_MESSAGE_ANSWERED) == 0,
            listeners[message.pointee.owner]?.replies == true
        else { return 0 }
        let endpoint =
            message.pointee.arrived == 0
            ? nil : message.pointee.endpoint.map { Unmanaged<Endpoint>.fromOpaque($0).takeUnretainedValue() }
        message.pointee.request = spawnedRequests.add(
            SpawnedRequest(reply: Array(script.replyOf(message)), endpoint: endpoint, arrived: message.pointee.arrived)
        )
        return message.pointee.request
    }

    func spawnedBegins(_ request: UInt64) { spawnedRequests.began(request) }

    /// `nil, err` is a failure as everywhere.
    func spawnedReturned(_ record: SpawnRecord, _ L: OpaquePointer, _ count: CInt) {
        guard count >= 2, let error = script.returnedError(L, count) else { return }
        spawnedRequests.failed(record.request, ReplyError(code: error.code, message: error.message))
    }

    func spawnedFailed(_ record: SpawnRecord, _ error: LuaError) {
        let isAnswer = error.isTable && error.code != nil
        spawnedRequests.failed(
            record.request,
            isAnswer
                ? ReplyError(code: error.code, message: error.message, errors: error.errors)
                : error.reply(debug: script.service?.debug == true)
        )
    }

    func spawnedEnded(_ request: UInt64) {
        if let (request, error) = spawnedRequests.ended(request) { script.refuse(request, error) }
    }

    func giveUpSpawned(_ reason: ReplyError) {
        guard !spawnedRequests.isEmpty else { return }
        for request in spawnedRequests.takeAll() { script.refuse(request, reason) }
    }
}

extension Script {

    /// An answer could not be sent: the requester hears so, unless another one goes out.
    func noteUnsent(_ message: UnsafeMutablePointer<panini_message>) {
        message.pointee.flags |= UInt8(PANINI_MESSAGE_UNSENT)
        if message.pointee.request != 0 { messaging.spawnedRequests.failed(message.pointee.request, .internalError) }
    }

    func handlerEnded(_ number: UInt64) {
        if let (request, error) = messaging.spawnedRequests.handlerEnded(number) { refuse(request, error) }
    }

    fileprivate func refuse(_ request: SpawnedRequest, _ error: ReplyError) {
        if let endpoint = request.endpoint { service?.requestAnswered(endpoint, request.arrived, error) }
        request.reply.withUnsafeBytes { service?.sendError(error, to: $0) }
    }
}

extension RunningActivity {
    /// The message of a handler.
    var message: UnsafeMutablePointer<panini_message>? {
        @inline(__always) get { subject.map { $0.assumingMemoryBound(to: panini_message.self) } }
    }
}
