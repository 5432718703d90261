// Owns: the check that a server's certificate carries the name that was asked for. NIOSSL has verified it before, but is
// content with a certificate for the peer's IP address whatever name is asked for: whoever got an address of the cluster,
// and a certificate for it from a trusted authority, could speak for the cluster. Pure; any thread.

import Bytes
import NIOSSL

enum CertificateNames {
    /// - Throws: `NATSError` with code `tlsFailed` when a verified certificate is for an IP address only, and not for
    ///   `name`.
    static func check(
        _ certificate: NIOSSLCertificate,
        for name: String,
        of address: NATSServerAddress
    ) throws(NATSError) {
        var hasAddress = false
        for alternative in certificate._subjectAlternativeNames() {
            switch alternative.nameType {
            case .ipAddress: hasAddress = true
            case .dnsName where matches(Array(alternative.contents), Array(name.utf8)): return
            default: break
            }
        }
        // Without an IP address in it, it was its name that NIOSSL found.
        guard hasAddress else { return }
        throw NATSError(
            .tlsFailed,
            "TLS with \(address) failed: its certificate is not for \(name), but for an IP address"
        )
    }

    /// Names of hosts, compared as RFC 9525 says: without regard to case or a final dot, and `*` in place of the whole
    /// first label only.
    static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        let pattern = labels(pattern)
        let name = labels(name)
        guard pattern.count == name.count, let first = pattern.first else { return false }
        guard first == [UInt8(ascii: "*")] else { return pattern == name }
        return pattern.count > 1 && !name[0].isEmpty && pattern.dropFirst() == name.dropFirst()
    }

    private static func labels(_ name: [UInt8]) -> [[UInt8]] {
        let dot = UInt8(ascii: ".")
        var labels = name.split(separator: dot, omittingEmptySubsequences: false).map { $0.map(ASCII.lowercased) }
        if labels.count > 1, labels.last == [] { labels.removeLast() }
        return labels
    }
}
