// swift-tools-version: 6.2
import PackageDescription

// scripts/test sets this: there a warning of these targets is an error. Elsewhere it stays a warning, so that a
// newer compiler with a new opinion still builds a clone.
let strict = Context.environment["PANINI_WARNINGS_AS_ERRORS"] == "1"

// One list of settings for every Swift target: language mode 6 (implied by the tools version), and the
// upcoming features that make imports and existentials say what they cost.
let swiftSettings: [SwiftSetting] =
    ["ExistentialAny", "InternalImportsByDefault", "MemberImportVisibility"].map { .enableUpcomingFeature($0) }
    + (strict ? [.treatAllWarnings(as: .error)] : [])

// Refused allocations on request (panini_faults.h), for tests of debug builds and for the fuzzers.
let isFuzzing = Context.environment["PANINI_FUZZ"] != nil
let cSettings: [CSetting] =
    [.define("PANINI_MEMORY_TESTS", to: "1", isFuzzing ? nil : .when(configuration: .debug))]
    + (strict ? [.treatAllWarnings(as: .error)] : [])

// The products of other packages that targets name.
let products = [
    "swift-argument-parser": ["ArgumentParser"],
    "swift-configuration": ["Configuration"],
    "swift-crypto": ["Crypto"],
    "swift-distributed-tracing": ["InMemoryTracing", "Instrumentation", "Tracing"],
    "swift-log": ["Logging"],
    "swift-metrics": ["CoreMetrics", "MetricsTestKit"],
    "swift-nio": [
        "NIOConcurrencyHelpers", "NIOCore", "NIOEmbedded", "NIOHTTP1", "NIOPosix", "NIOTLS", "NIOWebSocket",
    ],
    "swift-nio-http2": ["NIOHPACK", "NIOHTTP2"],
    "swift-nio-ssl": ["NIOSSL"],
    "swift-service-lifecycle": ["ServiceLifecycle", "ServiceLifecycleTestKit"],
]

// The names of what a target depends upon, apart by blanks: targets of this package, and products of the table.
func dependencies(_ names: String) -> [Target.Dependency] {
    names.split(separator: " ").map(String.init).map { name in
        products.first { $0.value.contains(name) }.map { .product(name: name, package: $0.key) } ?? .byName(name: name)
    }
}

func module(_ name: String, _ names: String = "", path: String? = nil) -> Target {
    .target(name: name, dependencies: dependencies(names), path: path, swiftSettings: swiftSettings)
}

func program(_ name: String, _ names: String, path: String? = nil) -> Target {
    .executableTarget(name: name, dependencies: dependencies(names), path: path, swiftSettings: swiftSettings)
}

func tests(_ name: String, _ names: String) -> Target {
    .testTarget(name: name, dependencies: dependencies(names), swiftSettings: swiftSettings)
}

let package = Package(
    name: "panini",
    products: ["LuaVM", "NATS", "Panini", "PaniniConfiguration", "PaniniObservability", "PaniniTesting"].map {
        .library(name: $0, targets: [$0])
    } + [.executable(name: "panini", targets: ["PaniniCLI"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing.git", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-http2.git", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CLua", pkgConfig: "lua5.4", providers: [.apt(["liblua5.4-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(
            name: "CLuaVM",
            dependencies: ["CLua"],
            cSettings: ["library", "memory", "state"].map { .headerSearchPath($0) } + cSettings
        ),
        .target(name: "CScriptObjects", dependencies: ["CLua", "CLuaVM"], cSettings: cSettings),
        module("Bytes"),
        module("LoopTools", "NIOCore"),
        module("LuaVM", "Bytes CLuaVM"),
        module("NATSProtocol", "Bytes Crypto NIOCore"),
        module(
            "NATS",
            "Bytes LoopTools NATSProtocol Logging NIOConcurrencyHelpers NIOCore NIOHTTP1 NIOPosix NIOSSL NIOTLS NIOWebSocket "
                + "ServiceLifecycle"
        ),
        module("NATSBroker", "Bytes LoopTools NATSProtocol Logging NIOCore NIOPosix"),
        module("PaniniHTTP", "Bytes CZlib LoopTools Crypto NIOCore NIOHPACK NIOHTTP1 NIOHTTP2 NIOPosix NIOSSL NIOTLS"),
        module("PaniniObservability", "Bytes Logging"),
        module("ScriptRuntime", "Bytes CLuaVM CScriptObjects LoopTools LuaVM Instrumentation Logging NIOCore NIOPosix"),
        module(
            "Panini",
            "Bytes CLuaVM CScriptObjects LoopTools LuaVM NATS NATSProtocol PaniniHTTP PaniniObservability ScriptRuntime "
                + "CoreMetrics Crypto Instrumentation Logging NIOCore NIOHTTP1 NIOPosix ServiceLifecycle Tracing"
        ),
        module("PaniniConfiguration", "Panini Configuration"),
        module("PaniniTesting", "LuaVM NATS NATSBroker NATSProtocol Panini Logging NIOCore NIOPosix"),
        program(
            "PaniniCLI",
            "Bytes NATS NATSBroker NATSProtocol Panini PaniniObservability PaniniTesting ArgumentParser Logging NIOCore "
                + "NIOPosix"
        ),

        tests("BytesTests", "Bytes"),
        tests("LoopToolsTests", "LoopTools NIOCore NIOEmbedded NIOPosix"),
        tests("LuaVMTests", "CLuaVM LuaVM"),
        tests("NATSProtocolTests", "Bytes NATSFuzzSupport NATSProtocol NIOCore"),
        tests(
            "NATSTests",
            "Bytes NATS NATSProtocol Crypto Logging NIOConcurrencyHelpers NIOCore NIOEmbedded NIOPosix NIOSSL "
                + "ServiceLifecycle"
        ),
        tests(
            "NATSBrokerTests",
            "NATS NATSBroker NATSFuzzSupport NATSProtocol Logging NIOConcurrencyHelpers NIOCore NIOPosix"
        ),
        tests("PaniniObservabilityTests", "PaniniObservability Logging"),
        tests("PaniniConfigurationTests", "Panini PaniniConfiguration Configuration"),
        tests("PaniniCLITests", "Bytes NATSProtocol Panini PaniniCLI"),
        tests("ScriptRuntimeTests", "CLuaVM LuaVM ScriptRuntime Logging NIOCore NIOPosix"),
        tests("PaniniHTTPTests", "PaniniHTTP Logging NIOCore NIOEmbedded NIOHTTP1 NIOPosix"),
        tests(
            "PaniniTests",
            "Bytes CLuaVM CScriptObjects LuaVM NATS NATSBroker NATSProtocol Panini PaniniObservability PaniniTesting "
                + "ScriptRuntime CoreMetrics InMemoryTracing Instrumentation Logging MetricsTestKit NIOCore NIOEmbedded NIOPosix "
                + "ServiceLifecycle ServiceLifecycleTestKit Tracing"
        ),

        // What must hold whatever comes in: the fuzzers' checks, which the tests run on seeded random input.
        module(
            "NATSFuzzSupport",
            "Bytes NATS NATSBroker NATSProtocol Logging NIOCore NIOEmbedded",
            path: "Tests/Fuzz/Support"
        ),
        module("LuaFuzzSupport", "CLuaVM LuaVM Panini", path: "Tests/Fuzz/LuaSupport"),
        module(
            "HTTPFuzzSupport",
            "NATSFuzzSupport PaniniHTTP NIOCore NIOEmbedded NIOHTTP1",
            path: "Tests/Fuzz/HTTPSupport"
        ),
        module(
            "BridgeFuzzSupport",
            "Bytes NATSFuzzSupport NATSProtocol Panini PaniniHTTP NIOCore",
            path: "Tests/Fuzz/BridgeSupport"
        ),
        tests("NATSFuzzTests", "NATSFuzzSupport"),
        tests("LuaFuzzTests", "LuaFuzzSupport NATSFuzzSupport"),
        tests("HTTPFuzzTests", "HTTPFuzzSupport NATSFuzzSupport"),
        tests("BridgeFuzzTests", "BridgeFuzzSupport NATSFuzzSupport"),
    ]
)

// scripts/test sets this: the example of the NATS client and every block of Swift in the documentation (scripts/snippets
// writes the file), as a user has them: without our upcoming features.
if Context.environment["PANINI_EXAMPLES"] != nil {
    let example = program("NATSExample", "NATS Logging NIOCore ServiceLifecycle", path: "examples/nats-client/Sources")
    example.swiftSettings = strict ? [.treatAllWarnings(as: .error)] : []
    let snippets = module(
        "DocumentationSnippets",
        "LuaVM NATS NATSProtocol Panini PaniniConfiguration PaniniObservability PaniniTesting Configuration Logging "
            + "NIOCore ServiceLifecycle",
        path: "Tests/Snippets"
    )
    snippets.swiftSettings = []
    package.targets += [example, snippets]
}

// Documentation, and the plugin that builds it: PANINI_DOCC=1 swift package generate-documentation --target NATS.
if Context.environment["PANINI_DOCC"] != nil {
    package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin.git", from: "1.4.0"))
}

// The fault suite: real servers that are killed, and a proxy that breaks connections. Minutes long, so only
// scripts/test builds and runs it.
if Context.environment["PANINI_FAULTS"] != nil {
    package.targets.append(
        tests("NATSFaultTests", "NATS NATSProtocol Logging NIOConcurrencyHelpers NIOCore")
    )
}

// Only for scripts/fuzz. No package of its own can do this: sanitizers go into the targets above, and only the manifest of a
// target sets its flags. A package that others depend upon may not have such flags, so they are not there otherwise. lld,
// because gold does not link libFuzzer's driver.
if isFuzzing {
    let sanitize = ["-sanitize=fuzzer,address"]
    let fuzzers = program(
        "Fuzzers",
        "BridgeFuzzSupport CLuaVM HTTPFuzzSupport LuaFuzzSupport LuaVM NATSFuzzSupport",
        path: "Tests/Fuzz/Fuzzers"
    )
    fuzzers.linkerSettings = [.unsafeFlags(sanitize + ["-use-ld=lld"])]
    package.products.append(.executable(name: "Fuzzers", targets: ["Fuzzers"]))
    package.targets.append(fuzzers)
    for target in package.targets where target.type == .regular || target === fuzzers {
        if target.name.hasPrefix("C") {
            target.cSettings = (target.cSettings ?? []) + [.unsafeFlags(["-fsanitize=address,fuzzer-no-link"])]
        } else {
            target.swiftSettings = swiftSettings + [.unsafeFlags(sanitize)]
        }
    }
}
