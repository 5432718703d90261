// The powers of ten that doubles represent exactly.

enum PowersOfTen {
    private nonisolated(unsafe) static let table: UnsafePointer<Double> = {
        let powers = UnsafeMutablePointer<Double>.allocate(capacity: 23)
        var power = 1.0
        for exponent in 0...22 {
            powers[exponent] = power
            power *= 10
        }
        return UnsafePointer(powers)
    }()

    /// 10 to the power of `exponent`, from 0 to 22.
    @inline(__always)
    static subscript(_ exponent: Int) -> Double { table[exponent] }
}
