// Owns: what the errors of the libraries mean to whoever fetches. Pure; any thread. No text of theirs is passed on that may
// hold a URL.

import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

extension HTTPFetchError {
    /// The failure that an error of a request to that server is.
    static func of(_ error: any Error, _ url: HTTPURL) -> HTTPFetchError {
        let (code, text) = meaning(error)
        return HTTPFetchError(code, "\(url.authority): \(text)")
    }

    private static func meaning(_ error: any Error) -> (Code, String) {
        switch error {
        case let error as NIOConnectionError: return connecting(error)
        case let error as NIOSSLError: return (.tls, tlsText("\(error)"))
        case let error as BoringSSLError: return (.tls, tlsText("\(error)"))
        case let error as NIOSSLExtraError: return (.tls, tlsText(error.description))
        case let error as HTTPParserError:
            // The parser's word for bytes that are missing.
            if error == .invalidEOFState { return cut }
            return (.protocol, "the answer is not HTTP")
        case is HTTPClientClosedError: return cut
        case is HTTPClientTLSError: return (.tls, "the certificates to trust cannot be read (ca_file)")
        case let error as IOError: return error.errnoCode == ECONNREFUSED ? (.connect, reason(ECONNREFUSED)) : cut
        case is ChannelError: return (.connect, "no connection")
        default: return (.protocol, "the answer cannot be read")
        }
    }

    private static let cut = (Code.closed, "the server closed the connection before the end of its answer")

    private static func connecting(_ error: NIOConnectionError) -> (Code, String) {
        guard let first = error.connectionErrors.first else { return (.dns, "the name has no address") }
        if let system = first.error as? IOError {
            let reason = reason(system.errnoCode)
            return (.connect, system.errnoCode == ECONNREFUSED ? reason : "no connection: \(reason)")
        }
        return (.connect, "no connection came about in time")
    }

    private static func reason(_ code: CInt) -> String {
        switch code {
        case ECONNREFUSED: "connection refused"
        case ENETUNREACH: "the network cannot be reached"
        case ETIMEDOUT: "it took too long"
        case EHOSTUNREACH: "there is no way to the host"
        default: "error \(code) of the system"
        }
    }

    private static func tlsText(_ description: String) -> String {
        if description.contains("CERTIFICATE_VERIFY_FAILED") || description.contains("unableToValidateCertificate") {
            return "the server's certificate is not one to trust"
        }
        if description.contains("failedToValidateHostname") || description.contains("hostname") {
            return "the server's certificate is for another name"
        }
        return "TLS failed"
    }
}
