// What went wrong below the NATS protocol, as an error for people: sockets and TLS say it in their own terms. Pure, any
// thread.

import Glibc
import NIOCore
import NIOSSL

enum TransportFailure {
    /// The peer has closed the connection.
    static func closed(isEncrypted: Bool, _ handshake: HandshakeMachine.State) -> NATSError {
        switch handshake {
        case .awaitingTLS:
            NATSError(.tlsFailed, "the server closed the connection during the TLS handshake\(certificateHint)")
        case .awaitingInfo, .awaitingPong:
            // A server that refuses the client's certificate may do no more than hang up.
            NATSError(
                .disconnected,
                isEncrypted
                    ? "the server closed the connection after the TLS handshake\(certificateHint)"
                    : "the server closed the connection"
            )
        case .finished, .failed: NATSError(.disconnected, "the server closed the connection")
        }
    }

    /// An error of the channel.
    static func error(_ error: any Error, _ address: NATSServerAddress) -> NATSError {
        switch error {
        case let error as NATSError: error
        case NIOSSLError.uncleanShutdown: NATSError(.disconnected, "the server closed the connection")
        case let error as IOError: NATSError(.disconnected, String(cString: strerror(error.errnoCode)))
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: tls(error, address)
        default: NATSError(.disconnected, "\(error)")
        }
    }

    private static let certificateHint = "; it may want a client certificate (tls cert_file and key_file)"

    private static func tls(_ error: any Error, _ address: NATSServerAddress) -> NATSError {
        let text = "\(error)"
        // BoringSSL names its reasons; there is nothing typed to look at.
        let reason =
            if text.contains("CERTIFICATE_VERIFY_FAILED") {
                "its certificate is not signed by a trusted authority (tls ca_file names one), or is not valid now"
            } else if text.contains("failedToValidateHostname") || text.contains("unableToValidateCertificate") {
                "its certificate is not for \(address.tlsName ?? address.host)"
            } else if text.contains("CERTIFICATE_REQUIRED") || text.contains("HANDSHAKE_FAILURE")
                || text.contains("BAD_CERTIFICATE") || text.contains("UNKNOWN_CA")
                || text.contains("CERTIFICATE_UNKNOWN")
            {
                "it does not accept the client's certificate, or wants one (tls cert_file and key_file)"
            } else if text.contains("WRONG_VERSION_NUMBER") {
                "it does not speak TLS there"
            } else {
                text
            }
        return NATSError(.tlsFailed, "TLS with \(address) failed: \(reason)")
    }
}
