// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;

namespace Fleece.Tests;

/// <summary>NOTICE names the assemblies of others that the module has, and their licences.</summary>
public sealed partial class NoticeTests
{
    private static readonly string[] ProjectsWithPackages = ["Fleece.Images", "Fleece.Rpc"];

    private static readonly string Text = File.ReadAllText(Path.Combine(HouseTests.Root, "NOTICE"));

    [Fact]
    public void Each_assembly_of_others_is_named_with_the_version_that_the_module_has()
    {
        // As the module's folder has them, because the project of the cmdlets puts them beside its assembly and so beside these tests.
        string folder = Path.Combine(AppContext.BaseDirectory, "dependencies");
        IEnumerable<string> staged = Directory.GetFiles(folder, "*.dll", SearchOption.AllDirectories)
            .Select(path => Path.GetFileName(path))
            .Where(name => !name.StartsWith("Fleece.", StringComparison.Ordinal))
            .Select(name => $"{name} {VersionOf(name)}");

        Assert.Equal(
            Row().Matches(Text).Select(row => $"{row.Groups["assembly"].Value} {row.Groups["version"].Value}").Order(),
            staged.Order());
    }

    [Fact]
    public void Each_has_a_licence_whose_text_follows_and_a_copyright() =>
        Assert.All(Row().Matches(Text), row =>
        {
            Assert.Contains($"The {row.Groups["licence"].Value} License", Text, StringComparison.Ordinal);
            Assert.StartsWith("Copyright (c) ", row.Groups["copyright"].Value, StringComparison.Ordinal);
        });

    // The package's, which the lock files have; two packages are named otherwise than their assembly.
    private static string VersionOf(string assembly)
    {
        string name = Path.GetFileNameWithoutExtension(assembly);
        string package = name switch
        {
            "Microsoft.VisualStudio.Threading" => name + ".Only",
            "ZstdSharp" => name + ".Port",
            _ => name,
        };
        string locks = string.Concat(ProjectsWithPackages.Select(project =>
            File.ReadAllText(Path.Combine(HouseTests.Root, "src", project, "packages.lock.json"))));
        return Regex.Match(locks, $"\"{Regex.Escape(package)}\": {{[^}}]*?\"resolved\": \"([^\"]+)\"").Groups[1].Value;
    }

    [GeneratedRegex(@"^(?<assembly>\S+\.dll) +(?<version>[0-9.]+) +(?<licence>\S+) +(?<copyright>.+?)\r?$", RegexOptions.Multiline)]
    private static partial Regex Row();
}
