// The store: orders in SQLite, by GRDB. Knows nothing of scripts.

import GRDB

/// An order as it is stored.
public struct Order: Codable, Sendable, Equatable {
    public var id: Int64
    public var customer: String
    /// In cents.
    public var total: Int
    public var state: String

    public init(id: Int64, customer: String, total: Int, state: String) {
        self.id = id
        self.customer = customer
        self.total = total
        self.state = state
    }
}

extension Order: FetchableRecord, PersistableRecord {
    public static let databaseTableName = "orders"
}

/// Why the store did not do what it was asked to.
public enum OrderStoreError: Error, Equatable {
    case duplicate(Int64)
}

/// Orders in a database. GRDB runs its queries on threads of its own.
public struct OrderStore: Sendable {
    private let database: any DatabaseWriter

    /// Opens a database, and brings its tables up to date.
    ///
    /// - Parameter path: The database's file; nil keeps everything in memory.
    public init(path: String?) throws {
        database = try path.map { try DatabasePool(path: $0) } ?? DatabaseQueue()
        var migrator = DatabaseMigrator()
        migrator.registerMigration("orders") { database in
            try database.create(table: "orders") { table in
                table.primaryKey("id", .integer)
                table.column("customer", .text).notNull().indexed()
                table.column("total", .integer).notNull()
                table.column("state", .text).notNull()
            }
        }
        try migrator.migrate(database)
    }

    /// Adds an order.
    public func add(_ order: Order) async throws {
        do {
            try await database.write { try order.insert($0) }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
            throw OrderStoreError.duplicate(order.id)
        }
    }

    /// An order by its number.
    public func find(_ id: Int64) async throws -> Order? {
        try await database.read { try Order.fetchOne($0, key: id) }
    }

    /// The orders of a customer, the oldest first.
    public func orders(of customer: String, limit: Int) async throws -> [Order] {
        try await database.read { database in
            try Order.filter(Column("customer") == customer).order(Column("id")).limit(limit).fetchAll(database)
        }
    }

    /// How many orders a customer has.
    public func count(of customer: String) async throws -> Int {
        try await database.read { try Order.filter(Column("customer") == customer).fetchCount($0) }
    }

    /// Moves an order from one state to another; false when it was not in that state.
    public func move(_ id: Int64, from: String, to: String) async throws -> Bool {
        try await database.write { database in
            try database.execute(
                sql: "UPDATE orders SET state = ? WHERE id = ? AND state = ?",
                arguments: [to, id, from]
            )
            return database.changesCount == 1
        }
    }
}
