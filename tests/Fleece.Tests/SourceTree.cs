// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;

namespace Fleece.Tests;

/// <summary>The sources of one project: how long its classes are, how full its folders, and which of them know each other.</summary>
/// <remarks>
/// It reads text, not syntax: a type begins in the first column and ends with a brace there, and a folder knows another when one of its
/// files has the name of a type that only the other declares. A name behind a dot, in a comment or in a string does not count, and the name of
/// a property of the file counts only where it stands as a type.
/// </remarks>
internal sealed partial class SourceTree
{
    private readonly List<Source> _sources = [];

    /// <summary>Takes the files of a project.</summary>
    /// <param name="files">Paths below the project's folder, with slashes, and what the files hold.</param>
    public SourceTree(IEnumerable<(string Path, string Text)> files)
    {
        foreach ((string path, string text) in files)
        {
            _sources.Add(new Source(path, path[..(path.LastIndexOf('/') + 1)].TrimEnd('/'), text, CommentOrString().Replace(text, " ")));
        }
    }

    /// <summary>Reads the files of a project's folder, without what the build makes.</summary>
    public static SourceTree Read(string folder) => new(
        Directory.GetFiles(folder, "*.cs", SearchOption.AllDirectories)
            .Select(path => (Path: Path.GetRelativePath(folder, path).Replace('\\', '/'), FullPath: path))
            .Where(file => file.Path.Split('/')[0] is not ("bin" or "obj"))
            .Select(file => (file.Path, File.ReadAllText(file.FullPath))));

    /// <summary>The types that have more lines than that, with their comments and over all their files, as "Name 412".</summary>
    public IEnumerable<string> TypesLongerThan(int lines) => _sources
        .SelectMany(source => MeasureTypes(source.Text))
        .GroupBy(type => type.Name, type => type.Lines, StringComparer.Ordinal)
        .Select(type => (Name: type.Key, Lines: type.Sum()))
        .Where(type => type.Lines > lines)
        .Select(type => $"{type.Name} {type.Lines}");

    /// <summary>The folders that hold more files than that, those of folders below not counted, as "Folder 26".</summary>
    public IEnumerable<string> FoldersFullerThan(int files) => _sources
        .GroupBy(source => source.Folder, StringComparer.Ordinal)
        .Where(folder => folder.Count() > files)
        .Select(folder => $"{Show(folder.Key)} {folder.Count()}");

    /// <summary>Every use of a folder by another that leads back to it, as "Mapping -> the root (L1.cs uses Header)".</summary>
    public IEnumerable<string> Circles()
    {
        Dictionary<(string From, string To), string> uses = FindUses();
        return uses.Where(use => Leads(use.Key.To, use.Key.From))
            .Select(use => $"{Show(use.Key.From)} -> {Show(use.Key.To)} ({use.Value})")
            .Order(StringComparer.Ordinal);

        bool Leads(string from, string to)
        {
            HashSet<string> seen = [from];
            Queue<string> left = new([from]);
            while (left.TryDequeue(out string? at))
            {
                foreach ((string _, string next) in uses.Keys.Where(use => use.From == at && seen.Add(use.To)))
                {
                    left.Enqueue(next);
                }
            }

            return seen.Contains(to);
        }
    }

    private static string Show(string folder) => folder.Length == 0 ? "the root" : folder;

    private static IEnumerable<(string Name, int Lines)> MeasureTypes(string text)
    {
        string space = Namespace().Match(text).Groups[1].Value;
        string[] lines = text.Split('\n');
        int begin = 0;
        for (int i = 0; i < lines.Length; i++)
        {
            if (TypeDeclaration().Match(lines[i]) is { Success: true } declaration)
            {
                int end = FindEnd(lines, i);
                yield return ($"{space}.{declaration.Groups[1].Value}", end - begin + 1);
                i = end;
                begin = end + 1;
            }
            else if (!lines[i].StartsWith("///", StringComparison.Ordinal) && !lines[i].StartsWith('['))
            {
                begin = i + 1;
            }
        }
    }

    // A type without a body ends with a semicolon, the others with a brace in the first column.
    private static int FindEnd(string[] lines, int begin)
    {
        int body = Array.FindIndex(lines, begin, line => line.StartsWith('{') || line.TrimEnd() is [.., ';' or '}']);
        bool hasBody = body >= 0 && lines[body].StartsWith('{');
        return Math.Max(begin, hasBody ? Array.FindIndex(lines, body, line => line.StartsWith('}')) : body);
    }

    private Dictionary<(string From, string To), string> FindUses()
    {
        Dictionary<string, string> folders = _sources
            .SelectMany(source => TypeDeclaration().Matches(source.Code).Select(match => (Name: match.Groups[1].Value, source.Folder)))
            .Distinct()
            .GroupBy(type => type.Name, type => type.Folder, StringComparer.Ordinal)
            .Where(type => type.Count() == 1)
            .ToDictionary(type => type.Key, type => type.Single(), StringComparer.Ordinal);
        Dictionary<(string From, string To), string> uses = [];
        foreach (Source source in _sources)
        {
            foreach (string name in NameOfType().Matches(source.Code).Select(match => match.Value))
            {
                if (folders.TryGetValue(name, out string? folder) && folder != source.Folder && !IsOnlyProperty(source.Code, name))
                {
                    uses.TryAdd((source.Folder, folder), $"{Path.GetFileName(source.Path)} uses {name}");
                }
            }
        }

        return uses;
    }

    private static bool IsOnlyProperty(string code, string name) =>
        Regex.IsMatch(code, $@"[\w>\]?] {name}\s*(\{{|=)") &&
        !Regex.IsMatch(code, $@"(?<!\.)\b{name}(\??(\[\])? (?!is |as |and |or |with |switch )[A-Za-z_]|[<>(]|\?? *[,)>]\s*[A-Z_a-z]+ =>)|new {name}\b");

    [GeneratedRegex("""//[^\n]*|/\*.*?\*/|"{3}.*?"{3}|@"(?:""|[^"])*"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""", RegexOptions.Singleline)]
    private static partial Regex CommentOrString();

    [GeneratedRegex(@"^namespace ([\w.]+)", RegexOptions.Multiline)]
    private static partial Regex Namespace();

    [GeneratedRegex(
        @"^(?:public |internal |file )(?:\w+ )*?(?:class|struct|interface|enum|record(?: struct| class)?|delegate [\w<>?\[\]]+) (\w+)",
        RegexOptions.Multiline)]
    private static partial Regex TypeDeclaration();

    [GeneratedRegex(@"(?<![\w.])[A-Z]\w+")]
    private static partial Regex NameOfType();

    private sealed record Source(string Path, string Folder, string Text, string Code);
}
