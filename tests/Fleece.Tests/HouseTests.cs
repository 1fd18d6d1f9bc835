// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Reflection;
using System.Text.RegularExpressions;
using Fleece.Block.Telemetry;

namespace Fleece.Tests;

/// <summary>The rules of the house that a compiler does not check.</summary>
public sealed partial class HouseTests
{
    private const int MaximumLinesPerFile = 700;
    private const int MaximumLineLength = 140;

    private static readonly string[] SourceFolders = ["src", "tests"];

    internal static string Root { get; } = FindRoot();

    [Fact]
    public void The_manifest_exports_every_cmdlet_and_alias_of_the_assembly_and_nothing_else()
    {
        using PowerShell shell = PowerShell.Create();
        string[] manifest = [.. shell
            .AddScript("$m = Test-ModuleManifest $args[0]; @($m.ExportedCmdlets.Keys) + @($m.ExportedAliases.Keys)")
            .AddArgument(Path.Combine(AppContext.BaseDirectory, "Fleece.psd1"))
            .Invoke<string>()];
        IEnumerable<string> aliases = Cmdlets.SelectMany(type => type.GetCustomAttribute<AliasAttribute>()?.AliasNames ?? []);

        Assert.Equal(Cmdlets.Select(NameOf).Concat(aliases).Order(), manifest.Order());
    }

    [Fact]
    public void Every_cmdlet_has_a_help_page_and_every_page_a_cmdlet() =>
        Assert.Equal(
            Cmdlets.Select(NameOf).Order(),
            Directory.GetFiles(Path.Combine(Root, "docs", "en-US"), "*-Fleece*.md")
                .Select(path => Path.GetFileNameWithoutExtension(path)!).Order());

    [Fact]
    public void Every_cmdlet_has_a_file_of_tests_and_every_such_file_a_cmdlet() =>
        Assert.Equal(
            Cmdlets.Select(NameOf).Order(),
            Directory.GetFiles(Path.Combine(Root, "tests", "cmdlets"), "*-Fleece*.Tests.ps1")
                .Select(path => Path.GetFileName(path).Replace(".Tests.ps1", string.Empty, StringComparison.Ordinal)).Order());

    [Fact]
    public void Every_cmdlet_shares_the_base_and_is_sealed() =>
        Assert.All(Cmdlets, type => Assert.True(type.IsSealed && type.IsSubclassOf(typeof(FleeceCommand)), type.Name));

    [Theory]
    [InlineData("Fleece.Block", "")]
    [InlineData("Fleece.DiscUtils", "Fleece.Images LTRData.DiscUtils.Vdi LTRData.DiscUtils.Vmdk")]
    [InlineData("Fleece.Images", "Fleece.Block ZstdSharp.Port")]
    [InlineData("Fleece.Nbd", "Fleece.Block")]
    [InlineData("Fleece.Disks", "Fleece.Block Fleece.Images Fleece.Nbd")]
    [InlineData("Fleece.Backups", "Fleece.Disks")]
    [InlineData("Fleece.Qemu", "Fleece.Disks")]
    [InlineData("Fleece.Hosting", "Fleece.Backups Fleece.Qemu")]
    [InlineData("Fleece.Rpc", "Fleece.Hosting StreamJsonRpc")]
    [InlineData("Fleece", "Fleece.Hosting PowerShellStandard.Library")]
    public void Projects_know_only_whom_they_may(string project, string mayKnow)
    {
        string text = File.ReadAllText(Path.Combine(Root, "src", project, project + ".csproj"));

        IEnumerable<string> known = Reference().Matches(text)
            .Select(match => match.Groups[1].Value.Split('/')[^1].Replace(".csproj", string.Empty, StringComparison.Ordinal))
            .Where(name => !name.EndsWith("Analyzers", StringComparison.Ordinal));

        Assert.Equal(mayKnow.Split(' ', StringSplitOptions.RemoveEmptyEntries), known.Order());
    }

    [Fact]
    public void Only_the_assembly_in_a_load_context_of_its_own_names_StreamJsonRpc()
    {
        string src = Path.Combine(Root, "src");
        IEnumerable<string> others = Directory.GetFiles(src, "*.cs", SearchOption.AllDirectories)
            .Where(path => !Path.GetRelativePath(src, path).StartsWith("Fleece.Rpc" + Path.DirectorySeparatorChar, StringComparison.Ordinal));

        Assert.DoesNotContain(others, path => UseOfStreamJsonRpc().IsMatch(File.ReadAllText(path)));
    }

    [Fact]
    public void No_source_uses_a_call_of_the_framework_that_hides_failures()
    {
        // docs/block-contract.md, "Durability", says what they hide.
        Regex hiding = new(@"RandomAccess\.FlushToDisk\(|\.Flush\((flushToDisk: )?true\)|PreallocationSize|(?<!OperatingSystem.IsWindows\(\)\)\s*\{\s*)File\.Move\(");

        Assert.Empty(Directory.GetFiles(Path.Combine(Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(path => hiding.IsMatch(File.ReadAllText(path)))
            .Select(path => Path.GetRelativePath(Root, path)));
    }

    // Names of files and what servers and images say may hold characters that a terminal obeys; FleeceCommand makes them printable.
    [Fact]
    public void No_cmdlet_writes_to_the_terminal_past_the_base()
    {
        string[] sources = Directory.GetFiles(Path.Combine(Root, "src", "Fleece"), "*.cs", SearchOption.AllDirectories);

        Assert.All(
            sources.Where(path => Path.GetFileName(path) is not ("FleeceCommand.cs" or "ErrorRecords.cs")),
            path => Assert.DoesNotMatch(PastTheBase(), File.ReadAllText(path)));
    }

    [Fact]
    public void Every_error_is_in_the_errors_page_as_the_table_has_it()
    {
        string page = File.ReadAllText(Path.Combine(Root, "docs", "errors.md"));

        Assert.All(ErrorTable.Rows, row =>
            Assert.Contains($"| `{row.ErrorId}` | {row.Kind} | {row.Category} |", page, StringComparison.Ordinal));
    }

    [Fact]
    public void Every_metric_is_in_the_page_on_telemetry_with_kind_and_unit()
    {
        string page = File.ReadAllText(Path.Combine(Root, "docs", "telemetry.md"));

        Assert.All(FleeceMetrics.All, metric => Assert.Contains(
            $"| `{metric.Name}` | {metric.Kind.ToString().ToLowerInvariant()}, `{metric.Unit}` |", page, StringComparison.Ordinal));
    }

    [Fact]
    public void Sources_are_short_enough_to_read_and_say_their_licence()
    {
        IEnumerable<string> sources = SourceFolders
            .SelectMany(folder => Directory.GetFiles(Path.Combine(Root, folder), "*.cs", SearchOption.AllDirectories))
            .Where(path => !path.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal));

        string src = Path.Combine(Root, "src");
        Assert.All(sources, path =>
        {
            string[] lines = File.ReadAllLines(path);
            Assert.Equal("// SPDX-License-Identifier: MIT", lines[0]);
            Assert.InRange(lines.Length, 1, MaximumLinesPerFile);
            if (path.StartsWith(src, StringComparison.Ordinal))
            {
                Assert.All(lines, line => Assert.InRange(line.Length, 0, MaximumLineLength));
            }
        });
    }

    [Fact]
    public void The_changelog_begins_with_the_version_of_the_manifest()
    {
        string manifest = File.ReadAllText(Path.Combine(Root, "Fleece.psd1"));
        string version = Version().Match(manifest).Groups[1].Value;

        Assert.StartsWith(
            $"## v{version} ",
            File.ReadLines(Path.Combine(Root, "CHANGELOG.md")).First(line => line.StartsWith("## ", StringComparison.Ordinal)),
            StringComparison.Ordinal);
    }

    private static Type[] Cmdlets =>
        [.. typeof(FleeceCommand).Assembly.GetTypes().Where(type => type.GetCustomAttribute<CmdletAttribute>() is not null)];

    private static string NameOf(Type type)
    {
        CmdletAttribute attribute = type.GetCustomAttribute<CmdletAttribute>()!;
        return $"{attribute.VerbName}-{attribute.NounName}";
    }

    private static string FindRoot()
    {
        // The build copies the manifest beside the tests, so that file alone does not tell the root.
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "LICENSE")) && File.Exists(Path.Combine(folder.FullName, "Fleece.psd1")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException("The tests do not lie in a checkout of the project.");
    }

    [GeneratedRegex(@"base\.(Write|Should)|\((PS)?Cmdlet |new ErrorRecord\(|\bHost\.UI\b|CommandRuntime")]
    private static partial Regex PastTheBase();

    [GeneratedRegex("""<(?:ProjectReference|PackageReference) Include="([^"]+)""")]
    private static partial Regex Reference();

    [GeneratedRegex(@"^(?!\s*//).*\b(StreamJsonRpc|Newtonsoft|Nerdbank|MessagePack)\b", RegexOptions.Multiline)]
    private static partial Regex UseOfStreamJsonRpc();

    [GeneratedRegex(@"ModuleVersion\s*=\s*'([0-9.]+)'")]
    private static partial Regex Version();
}
