// What `publish`, `request` and `subscribe` share: the server, the payload, headers, and errors as one clear line.

import ArgumentParser
import Logging
import NATS
import NATSProtocol
import NIOCore
import NIOPosix
import Panini
import PaniniObservability

/// Where a client command connects to, and as whom.
struct ClientArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The broker's address: nats, tls, ws or wss; repeat it for several. Without it NATS_URL counts, then "
                + "nats://127.0.0.1:4222.",
            valueName: "nats://host:port"
        )
    )
    var server: [String] = []

    @OptionGroup var appOptions: AppOptionArguments<SecurityOptions>

    /// What the help of each client command says about credentials and TLS.
    static let help = """
        Credentials and TLS have the names of the app's options, as with run; each is a variable, too \
        (PANINI_AUTH_TOKEN, PANINI_TLS_CA_FILE). Arguments are seen by everyone on the machine: give secrets in the \
        environment or as files.

        \(AppOptionFlags.help(AppOptionFlags.security))
        """

    private var addresses: [String] {
        if !server.isEmpty { return server }
        if let urls = Environment.value(Environment.serversName) {
            return urls.split(separator: ",").map { String($0.filter { $0 != " " }) }
        }
        return ["nats://127.0.0.1:4222"]
    }

    /// A connected client. Warnings of the connection go to standard error.
    func connect() async throws(CommandError) -> NATSClient {
        let log = PaniniLogs(
            descriptor: 2,
            style: .text,
            level: try LogArguments.LogLevel.effective(nil)?.level ?? .warning
        )
        log.bootstrap()
        Environment.sayUnknown()
        let logger = Logger(label: "nats") { ClientLogHandler(log.makeHandler(label: $0)) }
        let configuration = try configuration()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do throws(NATSError) {
            return try await NATSClient.connect(configuration, group: group, logger: logger)
        } catch {
            let shown = addresses.map(withoutCredentials).joined(separator: ", ")
            let reason = oneLine(error.message)
            switch error.code {
            case .connectFailed, .connectTimeout:
                throw CommandError(
                    "no broker at \(shown): \(reason); start one with panini broker, or name another with --server"
                )
            case .authorization:
                let isGiven =
                    !configuration.authentication.isNone
                    || addresses.contains { withoutCredentials($0) != $0 }
                let hint = isGiven ? "" : "; they are given as --auth-..., PANINI_AUTH_... or in the address"
                throw CommandError("no access to \(shown): \(reason)\(hint)")
            case .tlsFailed:
                throw CommandError("no access to \(shown): \(reason)")
            case .invalidCredentials:
                throw CommandError(reason)
            default: throw CommandError("\(shown): \(reason)")
            }
        }
    }

    private func configuration() throws(CommandError) -> NATSConnectionConfiguration {
        var overrides = PaniniOverrides()
        overrides.add(flags: appOptions.rewritten)
        overrides.addEnvironment(AppOptionFlags.security)
        var configuration: NATSConnectionConfiguration
        do throws(NATSError) {
            configuration = try NATSConnectionConfiguration(servers: addresses)
        } catch {
            let text = addresses.reduce(error.message) { hidingCredentials(of: $1, in: $0) }
            throw CommandError(text, exitCode: .usage)
        }
        do throws(PaniniError) {
            let security = try ConnectionSecurity(overrides)
            configuration.authentication = security.authentication
            configuration.tls = security.tls
        } catch {
            throw CommandError(error.message, exitCode: .usage)
        }
        configuration.name = "panini"
        return configuration
    }
}

/// What a client command sends.
struct PayloadArguments: ParsableArguments {
    @Argument(help: "Where it goes, such as greet or orders.7.paid.")
    var subject: String

    @Argument(help: "The message; - reads standard input, nothing sends an empty one.")
    var payload: String?

    @Option(
        name: [.customLong("header"), .customShort("H")],
        help: ArgumentHelp("A header; repeat it for several.", valueName: "name:value")
    )
    var headers: [String] = []

    /// Refused before there is a connection: the command line is what is wrong.
    func checkSubject(_ subject: String, _ what: String = "SUBJECT") throws(CommandError) {
        guard !NATSSubject.isValidForPublish(subject) else { return }
        throw CommandError(
            "\(what) \"\(subject)\": a message goes to tokens with single dots between, without blanks and wildcards",
            exitCode: .usage
        )
    }

    func bytes() throws(CommandError) -> [UInt8] {
        switch payload {
        case nil: []
        case "-": try StandardInput.readAll()
        case .some(let text): Array(text.utf8)
        }
    }

    func natsHeaders() throws(CommandError) -> NATSHeaders {
        var result = NATSHeaders()
        for header in headers {
            guard let colon = header.firstIndex(of: ":") else {
                throw CommandError("--header takes name:value, not \"\(header)\"", exitCode: .usage)
            }
            let name = String(header[..<colon])
            let value = header[header.index(after: colon)...].drop { $0 == " " }
            guard result.add(name, String(value)) else {
                throw CommandError("\"\(header)\" is no valid header", exitCode: .usage)
            }
        }
        return result
    }
}

extension CommandError {
    /// An error of the client: what can be seen on the command line alone is wrong usage.
    init(_ error: NATSError) {
        switch error.code {
        case .invalidSubject, .invalidQueue, .invalidAddress:
            self.init(error.message, exitCode: .usage)
        default:
            self.init(error.message)
        }
    }
}
