// swift-tools-version: 6.2
import PackageDescription

// A Swift service with a database whose business rules are Lua: docs/embedding.md explains it.
let package = Package(
    name: "embedding-example",
    dependencies: [
        .package(name: "panini", path: "../.."),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
    ],
    targets: [
        .target(
            name: "Orders",
            dependencies: [
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Panini", package: "panini"),
            ],
            // Copied as they are: `Bundle.module` finds them wherever the program lies.
            resources: [.copy("Scripts")]
        ),
        .executableTarget(
            name: "orders-service",
            dependencies: [
                "Orders",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Panini", package: "panini"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]
        ),
        .testTarget(
            name: "OrdersTests",
            dependencies: [
                "Orders",
                .product(name: "Panini", package: "panini"),
                .product(name: "PaniniTesting", package: "panini"),
            ]
        ),
    ]
)
