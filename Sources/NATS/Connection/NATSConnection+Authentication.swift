// Owns: the client's proof of who it is. Credentials are read or asked for before each attempt, off the loop, and become part
// of CONNECT. Loop-bound. Secrets never reach a log or an error's text.

import NATSProtocol
import NIOCore
import NIOPosix

extension NATSConnection {
    /// Reads or asks for what `address` will want to see. What needs no reading and no asking is there at once, without
    /// leaving the loop.
    ///
    /// - Returns: fails with a `NATSError` that says what cannot be read.
    func prepareCredentials(for address: NATSServerAddress) -> EventLoopFuture<NATSPreparedCredentials> {
        if let credentials = NATSPreparedCredentials.inAddress(address) {
            return eventLoop.makeSucceededFuture(credentials)
        }
        guard case .provider(let body) = configuration.authentication.kind else {
            return Self.read(configuration.authentication, on: eventLoop)
        }
        let challenge = NATSAuthentication.Challenge(server: address.description)
        return ask(body, challenge).flatMap { [eventLoop] authentication in
            Self.read(authentication, on: eventLoop).map { credentials in
                NATSPreparedCredentials(proof: credentials.proof, description: "\(authentication) from the provider")
            }
        }
    }

    /// Files are read on the thread pool, everything else right here.
    private static func read(
        _ authentication: NATSAuthentication,
        on eventLoop: any EventLoop
    ) -> EventLoopFuture<NATSPreparedCredentials> {
        guard authentication.isFile else {
            do throws(NATSError) {
                return eventLoop.makeSucceededFuture(try NATSPreparedCredentials.read(authentication))
            } catch {
                return eventLoop.makeFailedFuture(error)
            }
        }
        return NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
            try NATSPreparedCredentials.read(authentication)
        }
    }

    /// Runs the provider in a task of its own, which is cancelled when the attempt's time is over.
    private func ask(
        _ provider: @escaping @Sendable (NATSAuthentication.Challenge) async throws -> NATSAuthentication,
        _ challenge: NATSAuthentication.Challenge
    ) -> EventLoopFuture<NATSAuthentication> {
        let promise = eventLoop.makePromise(of: NATSAuthentication.self)
        let task = Task {
            do {
                promise.succeed(try await provider(challenge))
            } catch let error as NATSError {
                promise.fail(NATSError(.invalidCredentials, "the provider of credentials failed: \(error.message)"))
            } catch {
                // The text of somebody else's error may hold anything, secrets included.
                promise.fail(
                    NATSError(.invalidCredentials, "the provider of credentials threw \(type(of: error as Any))")
                )
            }
        }
        let deadline = eventLoop.scheduleTask(in: configuration.connectTimeout) { task.cancel() }
        promise.futureResult.whenComplete { _ in deadline.cancel() }
        return promise.futureResult
    }

    /// What CONNECT says, once the server's INFO is there.
    func connectOptions(for handler: NATSChannelHandler) throws(NATSError) -> NATSConnectOptions {
        let info = handler.info
        guard configuration.echo || info.protocolLevel >= 1 else {
            throw NATSError(
                .echoUnsupported,
                "the server \(handler.address) is too old to leave out the client's own messages (echo = false)"
            )
        }
        var options = NATSConnectOptions()
        options.verbose = configuration.verbose
        options.pedantic = configuration.pedantic
        options.tlsRequired = handler.isEncrypted
        options.name = configuration.name
        options.echo = configuration.echo
        options.headers = info.supportsHeaders
        try handler.credentials.add(to: &options, for: info)
        return options
    }
}

extension NATSAuthentication {
    fileprivate var isFile: Bool {
        switch kind {
        case .nkeySeedFile, .credentialsFile: true
        case .none, .token, .userPassword, .nkeySeed, .credentials, .provider: false
        }
    }
}
