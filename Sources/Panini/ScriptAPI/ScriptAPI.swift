// Owns: what scripts find by the names `app` and `panini`: every table with what all features have put into it. A value, made
// once for all scripts of a host; any thread.

import ScriptRuntime

/// The tables that scripts see.
struct ScriptAPI: Sendable {
    /// A table, and what stands in it.
    struct Table: Sendable {
        let declaration: Feature.Table
        /// Its name in the table that it stands in.
        let name: String
        fileprivate(set) var functions: [Feature.Function] = []
        fileprivate(set) var values: [(name: String, declaration: Feature.Value)] = []
        /// The tables in it, by their places in the list of all.
        fileprivate(set) var tables: [Int] = []

        var count: Int { functions.count + values.count + tables.count }
    }

    /// All of them; each behind the one that it stands in.
    private(set) var tables: [Table] = []
    /// Functions that scripts have in the place of Lua's own, but for trusted ones.
    let replacements: [Feature.Function]
    /// Where `app` and `panini` are in the list.
    let app: Int
    let panini: Int

    /// - Parameter features: A mistake in what they say ends the program: a name that is there twice, something that
    ///   stands in a table that no feature before it has made.
    init(_ features: [Feature]) {
        var tables: [Table] = []
        var places: [String: Int] = [:]
        var paths: Set<String> = []
        /// Where what has this path stands.
        func place(of path: String) -> (table: Int, name: String) {
            precondition(paths.insert(path).inserted, "two features have something that is called \(path)")
            let end = path.lastIndex(of: ".") ?? path.startIndex
            guard let place = places[String(path[..<end])] else {
                preconditionFailure("\(path) stands in a table that no feature before it has made")
            }
            return (place, String(path[end...].dropFirst()))
        }
        for declaration in features.flatMap(\.tables) {
            var name = declaration.path
            if name.contains(".") {
                let parent = place(of: declaration.path)
                tables[parent.table].tables.append(tables.count)
                name = parent.name
            }
            precondition(places[declaration.path] == nil, "two features make the table \(declaration.path)")
            places[declaration.path] = tables.count
            tables.append(Table(declaration: declaration, name: name))
        }
        for function in features.flatMap(\.functions) {
            tables[place(of: "\(function.table).\(function.entry.name)").table].functions.append(function)
        }
        for value in features.flatMap(\.values) {
            let (table, name) = place(of: value.path)
            tables[table].values.append((name: name, declaration: value))
        }
        guard let app = places["app"], let panini = places["panini"] else {
            preconditionFailure("no feature makes the tables app and panini")
        }
        self.app = app
        self.panini = panini
        self.tables = tables
        replacements = features.flatMap(\.functions).filter { $0.replaces != nil }
    }
}
