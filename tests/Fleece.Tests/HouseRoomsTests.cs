// SPDX-License-Identifier: MIT
namespace Fleece.Tests;

/// <summary>A class, a folder and a project are small enough to be understood one at a time.</summary>
public sealed class HouseRoomsTests
{
    private const int MaximumLinesPerType = 400;
    private const int MaximumFilesPerFolder = 25;

    [Fact]
    public void A_class_has_at_most_400_lines_over_all_its_files() =>
        Assert.Empty(Projects().SelectMany(project => SourceTree.Read(project).TypesLongerThan(MaximumLinesPerType)));

    [Fact]
    public void A_folder_has_at_most_25_files() =>
        Assert.Empty(Projects().SelectMany(project => SourceTree.Read(project).FoldersFullerThan(MaximumFilesPerFolder)
            .Select(folder => $"{Path.GetFileName(project)}/{folder}")));

    [Fact]
    public void The_folders_of_a_project_form_no_circles() =>
        Assert.Empty(Projects().SelectMany(project => SourceTree.Read(project).Circles()
            .Select(use => $"{Path.GetFileName(project)}: {use}")));

    [Fact]
    public void The_lines_of_a_class_are_those_of_all_its_files_with_its_comments()
    {
        const string part =
            "// SPDX\nnamespace A;\n\n/// <summary>Text.</summary>\n[Serializable]\ninternal sealed partial class Node(\n    int x)\n{\n" +
            "    void Run()\n    {\n        Run();\n    }\n}\n";
        const string others =
            "namespace A;\n\ninternal record Point(\n    int X);\n\ninternal sealed class Empty { }\n\npublic struct Two\n{\n}\n";
        SourceTree tree = new([("Node.cs", part), ("Parts/Node.Writing.cs", part), ("Other.cs", others)]);

        Assert.Equal(["A.Node 20"], tree.TypesLongerThan(19));
        Assert.Empty(tree.TypesLongerThan(20));
        Assert.Equal(["A.Node 20", "A.Point 2", "A.Empty 1", "A.Two 3"], tree.TypesLongerThan(0));
    }

    [Fact]
    public void The_files_of_a_folder_are_counted_without_those_of_the_folders_below()
    {
        SourceTree tree = new([("A.cs", ""), ("Room/B.cs", ""), ("Room/C.cs", ""), ("Room/Below/D.cs", "")]);

        Assert.Equal(["Room 2"], tree.FoldersFullerThan(1));
        Assert.Empty(tree.FoldersFullerThan(2));
    }

    [Fact]
    public void A_circle_over_three_folders_is_found_with_the_uses_that_make_it()
    {
        SourceTree tree = new(
        [
            ("Top.cs", "public class Top { Middle m; Apart a; }"),
            ("Middle/Middle.cs", "internal sealed class Middle { Bottom b; }"),
            ("Middle/Deep/Bottom.cs", "public readonly record struct Bottom(int X) { Top? _top; }"),
            ("Apart/Apart.cs", "internal enum Apart { One }"),
        ]);

        Assert.Equal(
            [
                "Middle -> Middle/Deep (Middle.cs uses Bottom)",
                "Middle/Deep -> the root (Bottom.cs uses Top)",
                "the root -> Middle (Top.cs uses Middle)",
            ],
            tree.Circles());
    }

    [Theory]
    [InlineData("// Top is above")]
    [InlineData("/// <see cref=\"Top\"/>")]
    [InlineData("/* Top */")]
    [InlineData("string s = \"Top\";")]
    [InlineData("string s = \"\"\"\n Top \"quoted\" \n\"\"\";")]
    [InlineData("string s = @\"C:\\\"; string t = \"Top\";")]
    [InlineData("int n = Text.Top;")]
    [InlineData("Twice t;")]
    public void Words_that_are_no_use_of_a_type_of_another_folder_make_no_circle(string code)
    {
        SourceTree tree = new(
        [
            ("Top.cs", "public class Top { Below b; }\npublic class Twice { }"),
            ("Room/Below.cs", $"internal class Below\n{{\n    {code}\n}}\n"),
            ("Apart/Twice.cs", "internal class Twice { }"),
        ]);

        Assert.Empty(tree.Circles());
    }

    private static string[] Projects() => [.. Directory.GetDirectories(Path.Combine(HouseTests.Root, "src")).Order()];

}
