// Owns: sending error replies. Loop-bound.

import Logging
import LuaVM
import NATS
import ScriptRuntime

extension Service {
    /// Sends an error reply.
    func sendError(_ error: ReplyError, to reply: UnsafeRawBufferPointer) {
        counters.errorReplied()
        let limit = connection.payloadLimit
        let (block, isShortened) = ErrorReply.write(
            error,
            into: messaging.errorWriter,
            limit: limit,
            hasHeaders: connection.takesHeaders
        )
        let refusal = block.withUnsafeBytes {
            connection.publish(
                subject: reply,
                reply: emptyBytes,
                headers: $0,
                payload: messaging.errorWriter.bytes,
                room: .reply
            )
        }
        if isShortened {
            logger.warning(
                "an error reply (\(error.code)) was shortened: it is larger than the broker's limit of \(limit) bytes"
            )
        }
        var last = refusal
        switch refusal {
        case .headersUnsupported, .lineTooLong:
            // An old broker, or a reply subject that leaves no room for the headers' numbers: the body says the same.
            last = connection.publish(
                subject: reply,
                reply: emptyBytes,
                headers: emptyBytes,
                payload: messaging.errorWriter.bytes,
                room: .reply
            )
        default: break
        }
        guard let last else { return }
        let reason = describe(last)
        if reason.isLoss { return replyLost(reason) }
        fault(.unsentReply, .warning, "an error reply (\(error.code)) was not sent: \(reason.message)")
    }
}
