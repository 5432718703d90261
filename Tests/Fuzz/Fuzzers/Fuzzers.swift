// All fuzzers in one program, so that Swift and the sanitizer are linked once: the name under which it is called says which one
// it is, and scripts/fuzz makes a link for each. libFuzzer is a library here, for SwiftPM gives each program a main of its own.
// Built by scripts/fuzz only.

import BridgeFuzzSupport
import Glibc
import HTTPFuzzSupport
import NATSFuzzSupport

private typealias Body = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: Body
) -> CInt

@main
enum Fuzzers {
    /// The invariants stand in the targets named ...FuzzSupport; an input is bad when its body traps.
    private static let bodies: [(name: String, body: Body)] = [
        ("JSONCodec", { fuzzJSONCodec($0, $1) }),
        ("LuaHost", { fuzzLuaHost($0, $1) }),
        // What a server sends: the operation parser, and the documents inside.
        (
            "NATSParser",
            { data, size in
                check(data, size) { input throws(FuzzFailure) in
                    try ServerStreamCheck.check(input)
                    try DocumentCheck.check(input)
                }
            }
        ),
        // What a client sends to the embedded broker.
        ("NATSBroker", { check($0, $1) { input throws(FuzzFailure) in try ClientStreamCheck.check(input) } }),
        // The connection machine: the input is a script.
        ("NATSConnection", { check($0, $1) { input throws(FuzzFailure) in try ConnectionScript.check(input) } }),
        // What a client sends over HTTP/1.
        ("HTTPParser", { check($0, $1) { input throws(FuzzFailure) in try HTTPParserCheck.check(input) } }),
        // What a client sends over HTTP/2.
        ("HTTP2Session", { check($0, $1) { input throws(FuzzFailure) in try HTTP2SessionCheck.check(input) } }),
        // The frames of a WebSocket's client.
        ("WebSocketReader", { check($0, $1) { input throws(FuzzFailure) in try WebSocketCheck.check(input) } }),
        // Forms with uploads.
        ("Multipart", { check($0, $1) { input throws(FuzzFailure) in try MultipartCheck.check(input) } }),
        // What browsers send to a bridge, and what it hands on to them.
        ("Bridge", { check($0, $1) { input throws(FuzzFailure) in try BridgeCheck.check(input) } }),
    ]

    static func main() {
        let path = CommandLine.arguments[0]
        guard let fuzzer = bodies.first(where: { path.hasSuffix("/\($0.name)Fuzzer") }) else {
            print(
                "usage: NAMEFuzzer [libFuzzer's arguments]; NAME is one of \(bodies.map(\.name).joined(separator: ", "))"
            )
            exit(2)
        }
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(runDriver(&count, &arguments, fuzzer.body))
    }

    private static func check(
        _ data: UnsafePointer<UInt8>?,
        _ size: Int,
        _ body: ([UInt8]) throws(FuzzFailure) -> Void
    ) -> CInt {
        do throws(FuzzFailure) {
            try body(Array(UnsafeBufferPointer(start: data, count: size)))
        } catch {
            fatalError("\(error)")
        }
        return 0
    }
}
