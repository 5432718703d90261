// swift-tools-version: 6.2
import PackageDescription

// Programs that only measure, apart from the package that they measure:
// swift run --package-path Tests/Benchmarks -c release EmbeddingBenchmark

// SwiftPM names a package at a path by its folder, as an identifier.
let folder = Context.packageDirectory.split(separator: "/").dropLast(2).last ?? "panini"
let panini = String(folder.lowercased().map { $0.isLetter || $0.isNumber ? $0 : "_" })

let package = Package(
    name: "panini-benchmarks",
    dependencies: [.package(name: "panini", path: "../..")],
    targets: [
        .executableTarget(
            name: "EmbeddingBenchmark",
            dependencies: ["LuaVM", "Panini", "PaniniTesting"].map { .product(name: $0, package: "panini") },
            path: "Embedding"
        ),
        .executableTarget(
            name: "LuaVMBenchmark",
            dependencies: [.product(name: "LuaVM", package: "panini")],
            path: "LuaVM",
            // What it measures is of access `package`: it is compiled as a part of that package, not of this one.
            packageAccess: false,
            swiftSettings: [.unsafeFlags(["-package-name", panini])]
        ),
        // Run by scripts/bench-client.
        .executableTarget(
            name: "NATSClientBenchmark",
            dependencies: [.product(name: "NATS", package: "panini")],
            path: "NATSClient"
        ),
    ]
)
