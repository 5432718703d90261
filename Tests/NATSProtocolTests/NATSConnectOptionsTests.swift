// The bytes of CONNECT: which members are always there, which only when set, and their order.

import Testing

@testable import NATSProtocol

@Suite(.timeLimit(.minutes(5))) struct NATSConnectOptionsTests {
    private func text(_ options: NATSConnectOptions) -> String { String(decoding: options.encoded(), as: UTF8.self) }

    private static let always =
        "{\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"\",\"lang\":\"swift\","
        + "\"version\":\"0.1.0\",\"protocol\":1,\"echo\":true,\"headers\":true,\"no_responders\":true"

    @Test func rule2SendsNoEmptyCredentials() {
        #expect(text(NATSConnectOptions()) == Self.always + "}")
    }

    @Test func rule2SendsEverythingSetInAFixedOrder() {
        var options = NATSConnectOptions()
        options.verbose = true
        options.pedantic = true
        options.tlsRequired = true
        options.name = "me"
        options.echo = false
        options.headers = false
        options.authToken = "t\"1\""
        options.pass = ""
        options.user = "joe"
        options.sig = "s-_"
        options.nkey = "U"
        options.jwt = "a.b.c"
        #expect(
            text(options)
                == "{\"verbose\":true,\"pedantic\":true,\"tls_required\":true,\"name\":\"me\",\"lang\":\"swift\","
                + "\"version\":\"0.1.0\",\"protocol\":1,\"echo\":false,\"headers\":false,\"no_responders\":false,"
                + "\"jwt\":\"a.b.c\",\"nkey\":\"U\",\"sig\":\"s-_\",\"user\":\"joe\",\"pass\":\"\","
                + "\"auth_token\":\"t\\\"1\\\"\"}"
        )
    }

    @Test func rule2SendsEachCredentialAlone() {
        let members: [(WritableKeyPath<NATSConnectOptions, String?>, String)] = [
            (\.jwt, "jwt"), (\.nkey, "nkey"), (\.sig, "sig"), (\.user, "user"), (\.pass, "pass"),
            (\.authToken, "auth_token"),
        ]
        for (path, name) in members {
            var options = NATSConnectOptions()
            options[keyPath: path] = "x"
            #expect(text(options) == Self.always + ",\"\(name)\":\"x\"}")
        }
    }

    @Test func showsNoSecret() {
        var options = NATSConnectOptions()
        options.pass = "hidden"
        var dumped = ""
        dump(options, to: &dumped)
        #expect(!"\(options)\(String(reflecting: options))\(dumped)".contains("hidden"))
    }
}
