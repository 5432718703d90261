// Who this client is: credentials are read or asked for before each attempt, off the loop, and become part of CONNECT.
// Loop-bound. Secrets never reach a log or an error's text.

import NATSProtocol
import NIOCore

/// What an attempt proves its identity with, fetched anew for each attempt.
enum NATSPreparedCredentials {
    case none
}

extension NATSConnection {
    /// Reads or asks for what `address` will want to see.
    ///
    /// - Returns: fails with a `NATSError` that says what cannot be read.
    func prepareCredentials(for address: NATSServerAddress) -> EventLoopFuture<NATSPreparedCredentials> {
        eventLoop.makeSucceededFuture(.none)
    }

    /// What CONNECT says, once the server's INFO is there.
    func connectOptions(for handler: NATSChannelHandler) throws(NATSError) -> NATSConnectOptions {
        var options = NATSConnectOptions()
        options.verbose = configuration.verbose
        options.pedantic = configuration.pedantic
        options.name = configuration.name
        options.echo = configuration.echo
        options.headers = serverInfo?.supportsHeaders ?? false
        return options
    }
}
