// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block;
using Fleece.Hosting.State;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.State;

/// <summary>Storage that fails, and a host that is killed, at each step of a change.</summary>
public sealed class StateFaultTests : IDisposable
{
    private const long Old = 1;
    private const long New = 2;

    // strace's names for the calls of both kinds of kernels.
    private const string Rename = "?rename,?renameat";
    private const string Unlink = "?unlink,?unlinkat";

    private readonly TempFolder _folder = new();

    // The calls of one change: each comes twice, for the copy and for the state.
    public static MatrixTheoryData<string, int> Steps => new([Unlink, "pwrite64", "fdatasync", Rename, "fsync"], [1, 2]);

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task A_change_that_fails_at_any_step_leaves_the_old_state(string calls, int time)
    {
        string output = await PutUnderAsync(calls, $"error=EIO:when={time}");

        Assert.StartsWith(
            $"{BlockErrors.IoFailed} True The host can't store its list of disks.", output, StringComparison.Ordinal);
        Assert.Contains(_folder.Path, output, StringComparison.Ordinal);
        CheckState(Old);
    }

    [Theory]
    [InlineData("ENOSPC", BlockErrors.NoSpace)]
    [InlineData("EDQUOT", BlockErrors.NoSpace)]
    [InlineData("EROFS", BlockErrors.ReadOnly)]
    [InlineData("EACCES", BlockErrors.PermissionDenied)]
    public async Task What_the_system_says_of_a_change_is_what_the_error_says(string errno, string kind)
    {
        string output = await PutUnderAsync(Rename, $"error={errno}:when=2");

        Assert.StartsWith($"{kind} True", output, StringComparison.Ordinal);
        CheckState(Old);
    }

    [Fact]
    public async Task A_state_that_can_not_be_read_is_not_taken_for_a_new_one()
    {
        string output = await RunUnderAsync("-P", _folder.File("state.json"), "-e", "trace=openat", "-e", "inject=openat:error=EIO");

        Assert.StartsWith(BlockErrors.IoFailed, output, StringComparison.Ordinal);
        CheckState(Old);
    }

    [Fact]
    public async Task Storage_that_fails_from_the_last_step_on_leaves_a_whole_state()
    {
        string output = await PutUnderAsync("fsync", "error=EIO:when=2+");

        Assert.StartsWith($"{BlockErrors.IoFailed} True", output, StringComparison.Ordinal);
        CheckState(Old, New);
    }

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task A_host_that_is_killed_at_any_step_leaves_the_old_state_or_the_new(string calls, int time)
    {
        string output = await PutUnderAsync(calls, $"signal=SIGKILL:when={time}");

        Assert.Equal(string.Empty, output);
        CheckState(Old, New);
    }

    [Fact]
    public async Task A_host_that_is_killed_at_any_moment_has_lost_nothing_that_it_said_was_stored()
    {
        Seeds random = Seeds.FromEnvironment();
        for (int round = 0; round < 12; round++)
        {
            using Process child = StateChild.Start(StateChild.Count, _folder.Path);
            string? said = await child.StandardOutput.ReadLineAsync();
            for (int rest = random.Next(40); rest > 0; rest--)
            {
                said = await child.StandardOutput.ReadLineAsync();
            }

            child.Kill();
            string rests = await child.StandardOutput.ReadToEndAsync();
            await child.WaitForExitAsync();
            long last = long.Parse(rests[..(rests.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Prepend(said!).Last(), CultureInfo.InvariantCulture);

            using HostState state = HostState.Open(_folder.Path);
            Assert.InRange(StateChild.NumberIn(state), last, last + 1);
        }
    }

    [Fact]
    public void A_full_file_system_keeps_the_old_state_and_takes_the_new_one_when_there_is_room_again()
    {
        using MountedFolder small = new("tmpfs", "size=64k");
        Assert.SkipUnless(small.SkipReason is null, small.SkipReason ?? string.Empty);
        string path = Path.Combine(small.Path, "state");
        string filler = Path.Combine(small.Path, "filler");
        using HostState state = HostState.Open(path);
        StateChild.PutNumber(state, Old);
        Fill(filler);

        BlockException error = Assert.Throws<BlockException>(() => StateChild.PutNumber(state, New));

        Assert.Equal(BlockErrors.NoSpace, error.Kind);
        Assert.Contains(path, error.Message, StringComparison.Ordinal);
        Assert.Equal(["lock", "state.json"], Directory.GetFiles(path).Select(Path.GetFileName).Order());
        Assert.Equal(Old, StateChild.NumberIn(state));
        state.Dispose();
        using HostState again = HostState.Open(path);
        Assert.Equal(Old, StateChild.NumberIn(again));
        File.Delete(filler);
        StateChild.PutNumber(again, New);
        Assert.Equal(New, StateChild.NumberIn(again));
    }

    [Fact]
    public async Task A_file_system_that_becomes_read_only_keeps_the_old_state()
    {
        using MountedFolder storage = new("tmpfs");
        Assert.SkipUnless(storage.SkipReason is null, storage.SkipReason ?? string.Empty);
        string path = Path.Combine(storage.Path, "state");
        using (HostState state = HostState.Open(path))
        {
            StateChild.PutNumber(state, Old);

            // Over itself, since the file system below can't change while the lock is open for writing.
            await Peer.RunAsync("mount", "--bind", path, path);
            await Peer.RunAsync("mount", "-o", "remount,bind,ro", path);
            try
            {
                Assert.Equal(BlockErrors.ReadOnly, Assert.Throws<BlockException>(() => StateChild.PutNumber(state, New)).Kind);
                Assert.Equal(Old, StateChild.NumberIn(state));
                state.Dispose();
                Assert.Equal(BlockErrors.ReadOnly, Assert.Throws<BlockException>(() => HostState.Open(path)).Kind);
            }
            finally
            {
                await Peer.RunAsync("umount", path);
            }
        }

        using HostState again = HostState.Open(path);
        Assert.Equal(Old, StateChild.NumberIn(again));
    }

    public void Dispose() => _folder.Dispose();

    // A change in another process, which strace lets fail at one of its calls.
    private async Task<string> PutUnderAsync(string calls, string injection)
    {
        string output = await RunUnderAsync("-e", $"trace={calls}", "-e", $"inject={calls}:{injection}");
        Assert.StartsWith(StateChild.Opened, output, StringComparison.Ordinal); // So that it was the change that failed.
        return output[StateChild.Opened.Length..].Trim();
    }

    private async Task<string> RunUnderAsync(params string[] injection)
    {
        Peer.Need("strace", "dotnet");
        using (HostState state = HostState.Open(_folder.Path))
        {
            StateChild.PutNumber(state, Old);
        }

        string[] arguments =
        [
            "-f", "-qq", "-E", "DOTNET_EnableDiagnostics=0", "-o", _folder.NewFile(".strace"), .. injection,
            "dotnet", typeof(StateChild).Assembly.Location, StateChild.Put, _folder.Path, $"{New}",
        ];
        using Process child = Peer.Start("strace", arguments);
        child.StandardInput.Close();
        Task<string> reading = child.StandardError.ReadToEndAsync();
        string output = await child.StandardOutput.ReadToEndAsync();
        await child.WaitForExitAsync();
        string error = await reading;
        Assert.SkipWhen(error.Contains("ptrace", StringComparison.OrdinalIgnoreCase), $"strace may not watch: {error}");
        return output;
    }

    private void CheckState(params long[] numbers)
    {
        using HostState state = HostState.Open(_folder.Path);
        Assert.Contains(StateChild.NumberIn(state), numbers);
        StateChild.PutNumber(state, New + 1);
    }

    private static void Fill(string path)
    {
        using FileStream filler = new(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        try
        {
            while (true)
            {
                filler.Write(new byte[1024]);
            }
        }
        catch (IOException)
        {
            // Full.
        }
    }
}
