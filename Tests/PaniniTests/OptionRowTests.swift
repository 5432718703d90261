// The rows of the options of `panini.app{...}`: each sets one field and no other, its default is within its bounds, and the
// documentation and the editor types say the same.

import Foundation
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Rows of options", .timeLimit(.minutes(5)))
struct OptionRowTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// A value that is not the default.
    private func sample(_ option: OptionDefinition) -> OptionValue {
        switch (option.kind, option.usual) {
        case (.string, _): .string("sample")
        case (.path, _): .string("/sample")
        case (.choice(let choices), let usual): .string(choices.first { .string($0) != usual } ?? "")
        case (.integer(let range), let usual), (.size(let range), let usual):
            .integer(usual == .integer(range.lowerBound) ? range.upperBound : range.lowerBound)
        case (.number(let range), let usual):
            .number(usual == .number(range.lowerBound) ? range.upperBound : range.lowerBound)
        case (.boolean, let usual): .boolean(usual != .boolean(true))
        case (.list, _): .list(["sample"])
        case (.map, _): .map(["name": "sample"])
        }
    }

    @Test("each row sets its own field and no other", arguments: OptionDefinition.all.map(\.name))
    func fields(_ name: String) throws {
        let option = try #require(OptionDefinition.byName[name])
        guard case .sets = option.effect else {
            #expect(option.name.hasPrefix("auth.") || option.name == "logger_in_separate_process")
            return
        }
        let value = sample(option)
        #expect(value != option.usual)
        var options = AppOptions()
        option.apply(value, to: &options)
        #expect(option.value(in: options) == value)
        for other in OptionDefinition.all where other.name != name {
            #expect(other.value(in: options) == other.usual, "\(name) sets \(other.name), too")
        }
        // From outside to the field, as a service has it.
        let applied = AppOptions([name: value])
        #expect(option.value(in: applied) == value)
    }

    @Test("the defaults are within the bounds", arguments: OptionDefinition.all.map(\.name))
    func defaults(_ name: String) throws {
        let option = try #require(OptionDefinition.byName[name])
        let plain: PlainValue
        switch option.usual {
        case nil, .string("")?: return
        case .string(let text)?: plain = .string(text)
        case .integer(let number)?: plain = .integer(number)
        case .number(let number)?: plain = .number(number)
        case .boolean(let flag)?: plain = .boolean(flag)
        case .list(let texts)?: plain = .array(texts.map { .string($0) })
        case .map(let texts)?: plain = .object(texts.map { ($0.key, .string($0.value)) })
        }
        #expect(try option.check(plain) == option.usual)
        #expect(!option.summary.contains("{default}"))
    }

    @Test("the editor types have each row, with its help text", arguments: OptionDefinition.all.map(\.name))
    func editorTypes(_ name: String) throws {
        let option = try #require(OptionDefinition.byName[name])
        let field = name.split(separator: ".").last.map(String.init) ?? name
        for definitions in [PaniniTypes.definitions, try Self.text("docs/panini.d.lua")] {
            let lines = definitions.split(separator: "\n").filter {
                $0.hasPrefix("---@field \(field)\(name == "service_name" ? "" : "?") ")
                    && $0.hasSuffix(" \(option.summary)")
            }
            // `ca_file` of app.http.fetch has the same text.
            #expect(name == "tls.ca_file" ? lines.count == 2 : lines.count == 1, "\(name)")
        }
    }

    // MARK: - Documentation

    /// The cells of all tables with a column "option" and one "default".
    private func documented() throws -> [(page: String, option: String, cell: String)] {
        let docs = Self.root.appending(path: "docs")
        var found: [(page: String, option: String, cell: String)] = []
        for page in try FileManager.default.contentsOfDirectory(atPath: docs.path).sorted() where page.hasSuffix(".md")
        {
            var head: [String]?
            for line in try Self.text("docs/\(page)").split(separator: "\n", omittingEmptySubsequences: false) {
                guard line.hasPrefix("|") else {
                    head = nil
                    continue
                }
                let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                    .map { $0.trimmingCharacters(in: .whitespaces) }
                guard let names = head else {
                    head = cells
                    continue
                }
                guard let option = names.firstIndex(of: "option"), let value = names.firstIndex(of: "default"),
                    cells.count == names.count
                else { continue }
                found += rows(cells[option], cells[value]).map { (page: page, option: $0.option, cell: $0.cell) }
            }
        }
        return found
    }

    private func rows(_ options: String, _ value: String) -> [(option: String, cell: String)] {
        let names = options.split(separator: "`").enumerated().filter { $0.offset % 2 == 0 }.map { String($0.element) }
        if names.count == 1, value.hasPrefix("`{ ") {
            // A group: `{ cpu = 1, load = 5 }`.
            return value.trimmingCharacters(in: CharacterSet(charactersIn: "`{ }")).split(separator: ", ").compactMap {
                let parts = $0.split(separator: " = ")
                return parts.count == 2 ? ("\(names[0]).\(parts[0])", String(parts[1])) : nil
            }
        }
        let parts = value.split(separator: ", ").map(String.init)
        return names.enumerated().map { ($0.element, parts.count == names.count ? parts[$0.offset] : value) }
    }

    /// A default as all pages have it: `"64MB"` and 64 MB are one, and what is said of it does not count.
    private func plain(_ cell: String) -> String {
        let words = cell.filter { $0 != "`" && $0 != "\"" }.split { " ,;".contains($0) }.map(String.init)
        guard let first = words.first else { return "" }
        return words.count > 1 && ["KB", "MB", "GB"].contains(words[1]) ? first + words[1] : first
    }

    @Test("the documentation names each option, and has the defaults")
    func documentation() throws {
        let pages = try FileManager.default.contentsOfDirectory(atPath: Self.root.appending(path: "docs").path)
            .filter { $0.hasSuffix(".md") }
        let all = try pages.map { try Self.text("docs/\($0)") }.joined()
        for option in OptionDefinition.all {
            let isNamed = all.contains("`\(option.name)`") || all.contains("`\(option.name) =")
            #expect(isNamed || option.name.hasPrefix("web_tls."), "no page names \(option.name)")
        }
        var compared: Set<String> = []
        for (page, name, cell) in try documented() {
            guard let option = OptionDefinition.byName[name], let text = option.defaultText, text != "\"\"" else {
                continue
            }
            #expect(plain(cell) == plain(text), "\(page): \(name)")
            compared.insert(name)
        }
        // So that a page in another form does not pass unseen.
        #expect(compared.count >= 35, "\(compared.count)")
    }
}
