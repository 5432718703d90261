// Owns: reading the certificate and the key of a server, and what is wrong with them. Blocks for as long as the disk takes; any
// thread.

import NIOSSL

/// Why a server cannot start.
package struct HTTPServerError: Error {
    /// One sentence for people.
    package let message: String
}

extension HTTPServerConfiguration {
    /// Reads the files of ``tls``; a wrong one is found here, and not at the first connection.
    ///
    /// - Returns: Nil without TLS.
    func makeTLSContext() throws(HTTPServerError) -> NIOSSLContext? {
        guard let (certificate, key) = tls else { return nil }
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificate)
        } catch {
            throw HTTPServerError(message: "\(certificate) cannot be read as a certificate (PEM)")
        }
        let secret: NIOSSLPrivateKey
        do {
            secret = try NIOSSLPrivateKey(file: key, format: .pem)
        } catch {
            throw HTTPServerError(message: "\(key) cannot be read as a private key (PEM)")
        }
        do {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(secret)
            )
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = speaksHTTP2 ? ["h2", "http/1.1"] : ["http/1.1"]
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw HTTPServerError(message: "the certificate \(certificate) and the key \(key) do not belong together")
        }
    }
}
