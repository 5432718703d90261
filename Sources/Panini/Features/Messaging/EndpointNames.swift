// Owns: the names of endpoints in the services protocol: no two of a service are the same. A pure value.

/// Names that are taken.
struct EndpointNames {
    private var taken: Set<String> = []
    /// By the name that several want: the numbers that tell them apart, from 2.
    private var numbers: [String: NumberPool] = [:]
    /// What such a name was made of.
    private var parts: [String: (base: String, number: Int)] = [:]

    /// Takes a name as it is; false when another has it.
    mutating func take(_ name: String) -> Bool { taken.insert(name).inserted }

    /// The name itself, or the name with the lowest number that nobody has.
    mutating func make(_ base: String) -> String {
        if take(base) { return base }
        while true {
            let number = numbers[base, default: NumberPool(from: 2)].take()
            let name = "\(base)-\(number)"
            guard take(name) else { continue }
            parts[name] = (base, number)
            return name
        }
    }

    /// Frees a name.
    mutating func giveBack(_ name: String) {
        taken.remove(name)
        guard let part = parts.removeValue(forKey: name) else { return }
        numbers[part.base]?.giveBack(part.number)
    }
}
