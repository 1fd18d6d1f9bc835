// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class FileNamesTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Method: strace watches this process, because no other way shows what a crash would leave.
    [Fact]
    public async Task A_new_name_is_flushed_with_its_folder()
    {
        Peer.Need("strace");
        (string path, string newPath, string log) = (_folder.File("a"), _folder.File("b"), _folder.File("log"));
        await File.WriteAllTextAsync(path, "content");
        using Process trace = Peer.Start(
            "strace", "-f", "-y", "-e", "trace=fsync,rename,renameat,renameat2", "-o", log, "-p",
            Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
        string? greeting = await trace.StandardError.ReadLineAsync();
        Assert.SkipUnless(greeting?.Contains("attached", StringComparison.Ordinal) == true, $"strace may not watch: {greeting}");

        FileNames.Move(path, newPath, overwrite: false);

        // It writes its log to the end before it lets go.
        using Process stop = Process.Start("kill", ["-INT", trace.Id.ToString(CultureInfo.InvariantCulture)]);
        await trace.WaitForExitAsync();
        string[] calls = await File.ReadAllLinesAsync(log);
        int renamedAt = FindCall(calls, "rename", newPath);
        Assert.True(renamedAt >= 0, "The rename is not in the log.");
        Assert.InRange(FindCall(calls, "fsync(", $"<{_folder.Path}>"), renamedAt + 1, calls.Length);
    }

    [Fact]
    public void A_taken_name_is_refused_and_both_files_stay()
    {
        (string path, string newPath) = (_folder.File("a"), _folder.File("b"));
        File.WriteAllText(path, "a");
        File.WriteAllText(newPath, "b");

        Refusals.Throws(BlockErrorKind.AlreadyExists, () => FileNames.Move(path, newPath, overwrite: false));

        Assert.Equal("a", File.ReadAllText(path));
        Assert.Equal("b", File.ReadAllText(newPath));
    }

    [Fact]
    public void A_taken_name_is_given_to_the_new_file_when_that_is_wanted()
    {
        (string path, string newPath) = (_folder.File("a"), _folder.File("b"));
        File.WriteAllText(path, "a");
        File.WriteAllText(newPath, "b");

        FileNames.Move(path, newPath, overwrite: true);

        Assert.False(File.Exists(path));
        Assert.Equal("a", File.ReadAllText(newPath));
    }

    private static int FindCall(string[] calls, string name, string argument) => Array.FindIndex(
        calls, call => call.Contains(name, StringComparison.Ordinal) && call.Contains(argument, StringComparison.Ordinal));
}
