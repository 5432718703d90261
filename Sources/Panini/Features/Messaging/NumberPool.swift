// Owns: giving out the lowest number that is free, however many are taken. A pure value.

/// Numbers from a first one on.
struct NumberPool {
    /// A heap: each is no larger than those at twice its place.
    private var returned: [Int] = []
    private var next: Int

    init(from first: Int = 1) { next = first }

    mutating func take() -> Int {
        guard let lowest = returned.first else {
            next += 1
            return next - 1
        }
        let last = returned.removeLast()
        guard !returned.isEmpty else { return lowest }
        var place = 0
        while true {
            var child = 2 * place + 1
            guard child < returned.count else { break }
            if child + 1 < returned.count, returned[child + 1] < returned[child] { child += 1 }
            guard returned[child] < last else { break }
            returned[place] = returned[child]
            place = child
        }
        returned[place] = last
        return lowest
    }

    /// Takes a number back that was given out.
    mutating func giveBack(_ number: Int) {
        returned.append(number)
        var place = returned.count - 1
        while place > 0, returned[(place - 1) / 2] > number {
            returned[place] = returned[(place - 1) / 2]
            place = (place - 1) / 2
        }
        returned[place] = number
    }

    /// Whether nothing is given out.
    func isUnused(from first: Int = 1) -> Bool { next - first == returned.count }
}
