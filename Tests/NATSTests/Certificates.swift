// Certificates for tests, made once per run with the `openssl` program: an authority, a server certificate for localhost and
// 127.0.0.1, one for each of them alone, one for another name, a client's, and an authority nobody trusts.

import Foundation

struct Certificates: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Fails the tests that need it, with the reason, when openssl is missing.
    static let shared = Result {
        let certificates = try Certificates()
        path = certificates.folder.path
        atexit { try? FileManager.default.removeItem(atPath: Certificates.path) }
        return certificates
    }
    /// Of the folder, for the end of the run; written once, by `shared`.
    nonisolated(unsafe) private static var path = ""

    let folder: URL

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// The `tls` block of a nats-server's configuration.
    func serverBlock(_ certificate: String = "server", verify: Bool = false, more: String = "") -> String {
        """
        tls {
          cert_file: "\(path("\(certificate).pem"))"
          key_file: "\(path("\(certificate).key"))"
          \(verify ? "ca_file: \"\(path("ca.pem"))\"\nverify: true" : "")
          \(more)
        }
        """
    }

    private init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("nats-certificates-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for authority in ["ca", "stranger"] {
            try openssl(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=\(authority)",
                "-keyout",
                path("\(authority).key"),
                "-out",
                path("\(authority).pem")
            )
        }
        try issue("server", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        try issue("elsewhere", "subjectAltName=DNS:nats.example")
        try issue("named", "subjectAltName=DNS:localhost")
        try issue("address", "subjectAltName=IP:127.0.0.1")
        try issue("client", "subjectAltName=DNS:client.example")
    }

    private func issue(_ name: String, _ extensions: String) throws {
        let text = "\(extensions)\nextendedKeyUsage=serverAuth,clientAuth\n"
        try text.write(toFile: path("\(name).ext"), atomically: true, encoding: .utf8)
        try openssl(
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=\(name)",
            "-keyout",
            path("\(name).key"),
            "-out",
            path("\(name).csr")
        )
        try openssl(
            "x509",
            "-req",
            "-in",
            path("\(name).csr"),
            "-CA",
            path("ca.pem"),
            "-CAkey",
            path("ca.key"),
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            path("\(name).ext"),
            "-out",
            path("\(name).pem")
        )
    }

    private func openssl(_ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(
                description: "openssl \(arguments[0]) ended with \(process.terminationStatus); is it installed?"
            )
        }
    }
}
