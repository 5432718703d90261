// Owns: what embedding says of itself. A constant; any thread.

extension Feature {
    /// Functions of Swift in Lua, and back.
    static let embedding = Feature(ScriptEmbedding.self)
}
