// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting.State;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.State;

/// <summary>The disks that a state directory keeps, and the host that has it.</summary>
public sealed class HostStateTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string StatePath => _folder.File("state");

    private string FilePath => Path.Combine(StatePath, "state.json");

    [Fact]
    public void A_new_state_has_no_disks_and_its_directory_is_the_users_alone()
    {
        using HostState state = HostState.Open(StatePath);

        Assert.Empty(state.Disks);
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(StatePath));
        }
    }

    [Fact]
    public void Disks_come_back_sorted_with_all_that_they_were_mounted_with()
    {
        MountedDiskState[] disks = [StateSamples.Full("Beta"), StateSamples.Plain("gamma"), StateSamples.Full("alpha")];
        using (HostState state = HostState.Open(StatePath))
        {
            state.Put(disks[0]);
            state.Put(disks[1], disks[2]);
        }

        using HostState again = HostState.Open(StatePath);

        Assert.Equal(["alpha", "Beta", "gamma"], again.Disks.Select(disk => disk.Name));
        Assert.Equal(TextOf(disks[2], disks[0], disks[1]), TextOf([.. again.Disks]));
    }

    [Fact]
    public void A_disk_that_is_put_again_takes_the_place_of_the_one_with_its_name()
    {
        using HostState state = HostState.Open(StatePath);
        state.Put(StateSamples.Plain("web", 1), StateSamples.Plain("mail", 2));

        state.Put(StateSamples.Plain("WEB", 3));
        state.Remove("Mail");
        state.Remove("unknown");

        MountedDiskState left = Assert.Single(state.Disks);
        Assert.Equal(("WEB", 3), (left.Name, left.Mount.MetadataCacheBytes));
    }

    [Fact]
    public void The_generation_before_is_kept_as_a_copy()
    {
        using HostState state = HostState.Open(StatePath);
        state.Put(StateSamples.Plain("web"));
        byte[] before = File.ReadAllBytes(FilePath);

        state.Remove("web");

        Assert.Equal(before, File.ReadAllBytes(FilePath + ".previous"));
        Assert.Equal(
            ["lock", "state.json", "state.json.previous"], Directory.GetFiles(StatePath).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void A_list_that_was_handed_out_does_not_change()
    {
        using HostState state = HostState.Open(StatePath);
        state.Put(StateSamples.Plain("web"));
        IReadOnlyList<MountedDiskState> before = state.Disks;

        state.Put(StateSamples.Plain("mail"));

        Assert.Single(before);
    }

    [Fact]
    public async Task Changes_from_several_threads_are_all_there_afterwards()
    {
        using HostState state = HostState.Open(StatePath);

        await Task.WhenAll(Enumerable.Range(0, 8).Select(number => Task.Run(() => state.Put(StateSamples.Plain($"disk{number}")))));

        Assert.Equal(8, state.Disks.Count);
        state.Dispose();
        using HostState again = HostState.Open(StatePath);
        Assert.Equal(8, again.Disks.Count);
    }

    [Fact]
    public void A_state_that_is_closed_stores_nothing()
    {
        HostState state = HostState.Open(StatePath);
        state.Dispose();
        state.Dispose();

        Assert.Throws<ObjectDisposedException>(() => state.Put(StateSamples.Plain("web")));
        Assert.False(File.Exists(FilePath));
    }

    [Fact]
    public void A_second_host_of_one_process_is_refused_until_the_first_has_closed()
    {
        using (HostState.Open(StatePath))
        {
            BlockException error = Assert.Throws<BlockException>(() => HostState.Open(StatePath));
            Assert.Equal(HostErrors.AlreadyRunning, error.Kind);
            Assert.Contains(StatePath, error.Message, StringComparison.Ordinal);
        }

        HostState.Open(StatePath).Dispose();
    }

    [Fact]
    public async Task The_error_of_a_second_host_names_the_process_of_the_first_and_a_killed_one_holds_nothing()
    {
        using Process first = StateChild.Start(StateChild.Hold, StatePath);
        try
        {
            Assert.Equal(StateChild.Opened, await first.StandardOutput.ReadLineAsync());

            BlockException error = Assert.Throws<BlockException>(() => HostState.Open(StatePath));

            Assert.Equal(HostErrors.AlreadyRunning, error.Kind);
            if (OperatingSystem.IsLinux())
            {
                Assert.Contains(first.Id.ToString(CultureInfo.InvariantCulture), error.Message, StringComparison.Ordinal);
            }
        }
        finally
        {
            first.Kill();
            await first.WaitForExitAsync();
        }

        HostState.Open(StatePath).Dispose();
    }

    [Fact]
    public void A_directory_below_one_that_is_not_there_is_not_made()
    {
        BlockException error = Assert.Throws<BlockException>(() => HostState.Open(_folder.File("missing/state")));

        Assert.Equal(BlockErrors.NotFound, error.Kind);
        Assert.False(Directory.Exists(_folder.File("missing")));
    }

    [Fact]
    public void A_file_in_the_place_of_the_directory_is_refused()
    {
        File.WriteAllText(StatePath, string.Empty);

        Assert.Equal(BlockErrors.AlreadyExists, Assert.Throws<BlockException>(() => HostState.Open(StatePath)).Kind);
    }

    [Theory]
    [InlineData("go+w")]
    [InlineData("g+w")]
    [InlineData("o+w")]
    public async Task A_directory_that_others_can_write_to_is_refused(string mode)
    {
        Peer.Need("chmod");
        HostState.Open(StatePath).Dispose();
        await Peer.RunAsync("chmod", mode, StatePath);

        BlockException error = Assert.Throws<BlockException>(() => HostState.Open(StatePath));

        Assert.Equal(HostErrors.StateInvalid, error.Kind);
        Assert.Contains("chmod go-w", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_directory_of_another_user_is_refused()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess, "Giving a directory away needs Linux and root.");
        HostState.Open(StatePath).Dispose();
        await Peer.RunAsync("chown", "12345", StatePath);

        BlockException error = Assert.Throws<BlockException>(() => HostState.Open(StatePath));

        Assert.Equal(HostErrors.StateInvalid, error.Kind);
        Assert.Contains("12345", error.Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private static string TextOf(params MountedDiskState[] disks) => JsonSerializer.Serialize(disks);
}
