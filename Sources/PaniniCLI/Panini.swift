@main
struct Panini {
    static func main() {}
}
