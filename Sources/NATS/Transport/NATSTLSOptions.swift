// Owns: the settings of TLS. A value, any thread.

/// The TLS settings of a client. TLS 1.2 is the least that is spoken.
///
/// TLS is used when any setting here is other than its default, when the address says `tls://` or `wss://`, or when the
/// server insists on it. In the first two cases a connection without TLS is refused.
public struct NATSTLSOptions: Sendable, Hashable {
    /// Whether a connection without TLS is refused although every other setting is at its default. Default false.
    public var isRequired = false
    /// A PEM file of certificates to trust instead of the system's; nil for the system's.
    public var caFile: String?
    /// A PEM file with the client's own certificate and its chain, for servers that verify clients.
    public var certificateFile: String?
    /// A PEM file with the key of ``certificateFile``.
    public var keyFile: String?
    /// Whether TLS begins before the server's INFO, for servers set to `handshake_first`. Default false.
    public var isFirst = false
    /// Whether the server's certificate is verified, its name included. Default true; turn it off in tests only.
    public var verifiesServer = true
    /// The name the server's certificate must carry; nil for the host of the address. For discovered servers given as an
    /// IP address the host of the configured server counts. Where a name is known, a certificate for the IP address alone
    /// is refused.
    public var serverName: String?

    /// All settings at their defaults.
    public init() {}

    /// Whether a connection in the clear is refused: nobody makes TLS settings for a connection without TLS.
    var refusesPlain: Bool { self != NATSTLSOptions() }
}
