// Owns: the words for what went wrong below the NATS protocol: sockets and TLS say it in their own terms. It reads the state
// of the connection's handler and changes nothing. Loop-bound.

import Glibc
import NIOCore
import NIOSSL
import NIOWebSocket

enum TransportFailure {
    /// The peer has closed the connection.
    static func closed(_ handler: NATSChannelHandler) -> NATSError {
        hangUp(handler) ?? NATSError(.disconnected, "the server closed the connection")
    }

    /// An error of the channel.
    static func error(_ error: any Error, _ handler: NATSChannelHandler) -> NATSError {
        switch error {
        case let error as NATSError: error
        case NIOSSLError.uncleanShutdown: closed(handler)
        case let error as IOError:
            hangUp(handler) ?? NATSError(.disconnected, String(cString: strerror(error.errnoCode)))
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: tls(error, handler)
        case NIOWebSocketError.invalidFrameLength:
            NATSError(.protocolViolation, "the server sent a WebSocket frame that is too large")
        case is NIOWebSocketError:
            NATSError(.protocolViolation, "the server sent a WebSocket frame that breaks the rules")
        default: NATSError(.disconnected, "\(error)")
        }
    }

    /// A connection that ends while TLS is on and NATS is not yet: a server that refuses the client's certificate may do
    /// no more than hang up.
    private static func hangUp(_ handler: NATSChannelHandler) -> NATSError? {
        guard handler.isEncrypted else { return nil }
        switch handler.handshake.state {
        case .finished, .failed: return nil
        case .awaitingInfo, .awaitingTLS, .awaitingPong:
            return handler.hasTLSBegun
                ? NATSError(
                    .disconnected,
                    "the server closed the connection after the TLS handshake; \(certificateHint)"
                )
                : closedInHandshake(handler)
        }
    }

    private static let certificateHint = "it may want a client certificate (tls cert_file and key_file)"

    private static func closedInHandshake(_ handler: NATSChannelHandler) -> NATSError {
        let hint = isFirst(handler) ? "it may not be set to TLS first (handshake_first)" : certificateHint
        return NATSError(.tlsFailed, "the server closed the connection during the TLS handshake; \(hint)")
    }

    /// Whether TLS began without having seen the server's INFO.
    private static func isFirst(_ handler: NATSChannelHandler) -> Bool {
        !handler.address.scheme.isWebSocket && handler.handshake.state == .awaitingInfo
    }

    private static func tls(_ error: any Error, _ handler: NATSChannelHandler) -> NATSError {
        let text = "\(error)"
        // BoringSSL names its reasons; there is nothing typed to look at.
        if text.contains("EOF during handshake") { return closedInHandshake(handler) }
        let reason =
            if text.contains("CERTIFICATE_VERIFY_FAILED") {
                "its certificate is not signed by a trusted authority (tls ca_file names one), or is not valid now"
            } else if text.contains("failedToValidateHostname") || text.contains("unableToValidateCertificate") {
                "its certificate is not for "
                    + (handler.connection?.configuration.tls.serverName ?? handler.address.certificateName)
            } else if text.contains("CERTIFICATE_REQUIRED") || text.contains("HANDSHAKE_FAILURE")
                || text.contains("BAD_CERTIFICATE") || text.contains("UNKNOWN_CA")
                || text.contains("CERTIFICATE_UNKNOWN")
            {
                "it does not accept the client's certificate, or wants one (tls cert_file and key_file)"
            } else if text.contains("WRONG_VERSION_NUMBER") {
                isFirst(handler) ? "it does not speak TLS first (handshake_first)" : "it does not speak TLS there"
            } else {
                text
            }
        return NATSError(.tlsFailed, "TLS with \(handler.address) failed: \(reason)")
    }
}
