// swift-tools-version: 6.2
import PackageDescription

// scripts/test sets this: there a warning of these targets is an error. Elsewhere it stays a warning, so that a
// newer compiler with a new opinion still builds a clone.
let strict = Context.environment["PANINI_WARNINGS_AS_ERRORS"] == "1"

// One list of settings for every Swift target: language mode 6 (implied by the tools version), and the
// upcoming features that make imports and existentials say what they cost.
let swiftSettings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + (strict ? [.treatAllWarnings(as: .error)] : [])

// Refused allocations on request (panini_faults.h), for tests of debug builds and for the fuzzers.
let isFuzzing = Context.environment["PANINI_FUZZ"] != nil
let memoryTests: CSetting =
    isFuzzing
    ? .define("PANINI_MEMORY_TESTS", to: "1")
    : .define("PANINI_MEMORY_TESTS", to: "1", .when(configuration: .debug))

let cSettings: [CSetting] = [memoryTests] + (strict ? [.treatAllWarnings(as: .error)] : [])

let package = Package(
    name: "panini",
    products: [
        .library(name: "LuaVM", targets: ["LuaVM"]),
        .library(name: "NATS", targets: ["NATS"]),
        .library(name: "Panini", targets: ["Panini"]),
        .library(name: "PaniniConfiguration", targets: ["PaniniConfiguration"]),
        .library(name: "PaniniObservability", targets: ["PaniniObservability"]),
        .library(name: "PaniniTesting", targets: ["PaniniTesting"]),
        .executable(name: "panini", targets: ["PaniniCLI"]),
    ],
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
        .target(name: "CLuaShim", dependencies: ["CLua"], cSettings: cSettings),
        .target(name: "LuaVM", dependencies: ["CLuaShim"], swiftSettings: swiftSettings),
        .target(
            name: "NATSProtocol",
            dependencies: [
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "NATS",
            dependencies: [
                "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "NATSBroker",
            dependencies: [
                "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "PaniniHTTP",
            dependencies: [
                "CZlib",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "PaniniObservability",
            dependencies: [.product(name: "Logging", package: "swift-log")],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "Panini",
            dependencies: [
                "CLuaShim", "LuaVM", "NATSProtocol", "NATS", "PaniniHTTP", "PaniniObservability",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Instrumentation", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "PaniniConfiguration",
            dependencies: ["Panini", .product(name: "Configuration", package: "swift-configuration")],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "PaniniTesting",
            dependencies: [
                "Panini", "LuaVM", "NATS", "NATSBroker", "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        .executableTarget(
            name: "PaniniCLI",
            dependencies: [
                "Panini", "PaniniObservability", "PaniniTesting", "NATS", "NATSBroker", "NATSProtocol",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        .testTarget(name: "LuaVMTests", dependencies: ["LuaVM", "CLuaShim"], swiftSettings: swiftSettings),
        .testTarget(
            name: "NATSProtocolTests",
            dependencies: ["NATSFuzzSupport", "NATSProtocol", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "NATSTests",
            dependencies: [
                "NATS", "NATSProtocol",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "NATSBrokerTests",
            dependencies: [
                "NATS", "NATSBroker", "NATSFuzzSupport", "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        // The fuzzers' invariants, shared with the tests, and seeded random numbers.
        .target(
            name: "NATSFuzzSupport",
            dependencies: [
                "NATS", "NATSBroker", "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            path: "Tests/Fuzz/Support",
            swiftSettings: swiftSettings
        ),
        .testTarget(name: "NATSFuzzTests", dependencies: ["NATSFuzzSupport"], swiftSettings: swiftSettings),
        // Programs out of bytes, and what must hold after them.
        .target(
            name: "LuaFuzzSupport",
            dependencies: ["CLuaShim", "LuaVM", "Panini"],
            path: "Tests/Fuzz/LuaSupport",
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "LuaFuzzTests",
            dependencies: ["LuaFuzzSupport", "NATSFuzzSupport"],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "HTTPFuzzSupport",
            dependencies: [
                "NATSFuzzSupport", "PaniniHTTP",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            path: "Tests/Fuzz/HTTPSupport",
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "HTTPFuzzTests",
            dependencies: ["HTTPFuzzSupport", "NATSFuzzSupport"],
            swiftSettings: swiftSettings
        ),
        .target(
            name: "BridgeFuzzSupport",
            dependencies: [
                "NATSFuzzSupport", "NATSProtocol", "Panini", "PaniniHTTP",
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Tests/Fuzz/BridgeSupport",
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "BridgeFuzzTests",
            dependencies: ["BridgeFuzzSupport", "NATSFuzzSupport"],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "PaniniObservabilityTests",
            dependencies: ["PaniniObservability", .product(name: "Logging", package: "swift-log")],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "PaniniConfigurationTests",
            dependencies: [
                "Panini", "PaniniConfiguration", .product(name: "Configuration", package: "swift-configuration"),
            ],
            swiftSettings: swiftSettings
        ),
        .testTarget(name: "PaniniCLITests", dependencies: ["PaniniCLI", "Panini"], swiftSettings: swiftSettings),
        .testTarget(
            name: "PaniniHTTPTests",
            dependencies: [
                "PaniniHTTP",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "PaniniTests",
            dependencies: [
                "Panini", "LuaVM", "NATS", "NATSBroker", "NATSProtocol", "PaniniObservability", "PaniniTesting",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Instrumentation", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: swiftSettings
        ),
    ]
)

// The example of the NATS client, built here with the dependencies that are there already: scripts/test sets this.
if Context.environment["PANINI_EXAMPLES"] != nil {
    package.targets.append(
        .executableTarget(
            name: "NATSExample",
            dependencies: [
                "NATS",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            path: "examples/nats-client/Sources",
            // As a user has it: without our upcoming features.
            swiftSettings: strict ? [.treatAllWarnings(as: .error)] : []
        )
    )
}

// Every block of Swift in the documentation, compiled: scripts/snippets writes the file.
if Context.environment["PANINI_EXAMPLES"] != nil {
    package.targets.append(
        .target(
            name: "DocumentationSnippets",
            dependencies: [
                "LuaVM", "NATS", "NATSProtocol", "Panini", "PaniniConfiguration", "PaniniObservability",
                "PaniniTesting",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            path: "Tests/Snippets"
        )
    )
}

// Documentation, and the plugin that builds it: PANINI_DOCC=1 swift package generate-documentation --target NATS.
if Context.environment["PANINI_DOCC"] != nil {
    package.dependencies.append(.package(url: "https://github.com/swiftlang/swift-docc-plugin.git", from: "1.4.0"))
}

// A measurement of the NATS client's costs per message, left out of normal builds.
if Context.environment["PANINI_MEASURE"] != nil {
    package.targets.append(
        .executableTarget(
            name: "NATSMeasure",
            dependencies: [
                "NATS", "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        )
    )
}

// The fault suite: real servers that are killed, and a proxy that breaks connections. Minutes long, so only
// scripts/test --faults builds and runs it.
if Context.environment["PANINI_FAULTS"] != nil {
    package.targets.append(
        .testTarget(
            name: "NATSFaultTests",
            dependencies: [
                "NATS", "NATSProtocol",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: swiftSettings
        )
    )
}

// Only for scripts/fuzz: it needs flags that a package used as a dependency may not have. lld, because gold does not
// link libFuzzer's driver.
if isFuzzing {
    let sanitize: [String] = ["-sanitize=fuzzer,address"]
    let settings = swiftSettings + [.unsafeFlags(sanitize)]
    let looked = [
        "BridgeFuzzSupport", "HTTPFuzzSupport", "LuaFuzzSupport", "LuaVM", "NATS", "NATSBroker", "NATSFuzzSupport",
        "NATSProtocol", "Panini", "PaniniHTTP",
    ]
    for target in package.targets {
        if target.name == "CLuaShim" {
            target.cSettings = cSettings + [.unsafeFlags(["-fsanitize=address,fuzzer-no-link"])]
        }
    }
    for target in package.targets where looked.contains(target.name) {
        target.swiftSettings = settings
    }
    package.targets.append(.target(name: "FuzzerDriver", path: "Tests/Fuzz/Driver", swiftSettings: settings))
    let fuzzers: [(folder: String, dependencies: [Target.Dependency])] = [
        ("JSONCodec", ["CLuaShim", "LuaVM"]),
        ("LuaHost", ["LuaFuzzSupport"]),
        ("NATSParser", ["NATSFuzzSupport"]),
        ("NATSBroker", ["NATSFuzzSupport"]),
        ("NATSConnection", ["NATSFuzzSupport"]),
        ("HTTPParser", ["HTTPFuzzSupport", "NATSFuzzSupport"]),
        ("HTTP2Session", ["HTTPFuzzSupport", "NATSFuzzSupport"]),
        ("WebSocketReader", ["HTTPFuzzSupport", "NATSFuzzSupport"]),
        ("Multipart", ["HTTPFuzzSupport", "NATSFuzzSupport"]),
        ("Bridge", ["BridgeFuzzSupport", "NATSFuzzSupport"]),
    ]
    for (folder, dependencies) in fuzzers {
        package.products.append(.executable(name: folder + "Fuzzer", targets: [folder + "Fuzzer"]))
        package.targets.append(
            .executableTarget(
                name: folder + "Fuzzer",
                dependencies: ["FuzzerDriver"] + dependencies,
                path: "Tests/Fuzz/" + folder,
                swiftSettings: settings,
                linkerSettings: [.unsafeFlags(sanitize + ["-use-ld=lld"])]
            )
        )
    }
}

// Only for measuring: PANINI_BENCHMARK=1 swift run -c release LuaVMBenchmark.
if Context.environment["PANINI_BENCHMARK"] != nil {
    package.targets.append(
        .executableTarget(
            name: "LuaVMBenchmark",
            dependencies: ["CLuaShim", "LuaVM"],
            path: "Tests/Benchmarks/LuaVM",
            swiftSettings: swiftSettings
        )
    )
    package.targets.append(
        .executableTarget(
            name: "EmbeddingBenchmark",
            dependencies: ["LuaVM", "Panini", "PaniniTesting"],
            path: "Tests/Benchmarks/Embedding",
            swiftSettings: swiftSettings
        )
    )
    // Run by scripts/bench-client.
    package.targets.append(
        .executableTarget(
            name: "NATSClientBenchmark",
            dependencies: ["NATS"],
            path: "Tests/Benchmarks/NATSClient",
            swiftSettings: swiftSettings
        )
    )
}
