// Owns: the step from TLS settings to what the TLS library wants. It reads files: never on a loop. Pure otherwise, any thread.

import NATSProtocol
import NIOCore
import NIOSSL

enum TLSContext {
    /// Reads the files of `options` anew, so that renewed certificates are used by the next connection.
    ///
    /// - Throws: `NATSError` with code `tlsFailed`, naming the file.
    static func make(_ options: NATSTLSOptions) throws(NATSError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = options.verifiesServer ? .fullVerification : .none
        if let path = options.caFile {
            configuration.trustRoots = .certificates(
                try read(path, "certificates to trust") { try NIOSSLCertificate.fromPEMBytes($0) }
            )
        }
        switch (options.certificateFile, options.keyFile) {
        case (nil, nil): break
        case (let certificate?, let key?):
            configuration.certificateChain = try read(certificate, "the client certificate") {
                try NIOSSLCertificate.fromPEMBytes($0).map { .certificate($0) }
            }
            configuration.privateKey = .privateKey(
                try read(key, "the key of the client certificate") { try NIOSSLPrivateKey(bytes: $0, format: .pem) }
            )
        case (_?, nil): throw NATSError(.tlsFailed, "a client certificate needs its key file as well")
        case (nil, _?): throw NATSError(.tlsFailed, "a client's key needs its certificate file as well")
        }
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw NATSError(.tlsFailed, "the TLS settings cannot be used together (does the key fit the certificate?)")
        }
    }

    private static func read<Value>(
        _ path: String,
        _ what: String,
        _ body: ([UInt8]) throws -> Value
    ) throws(NATSError) -> Value {
        var bytes: [UInt8]
        do throws(SecretFile.Problem) {
            bytes = try SecretFile.read(path)
        } catch {
            throw NATSError(.tlsFailed, "cannot read \(what) from \(path): \(error.reason)")
        }
        defer { Secret.wipe(&bytes) }
        do {
            return try body(bytes)
        } catch {
            throw NATSError(.tlsFailed, "\(path) does not hold \(what) in PEM form")
        }
    }
}
