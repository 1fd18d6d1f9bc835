// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Tests.Host;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Local;

/// <summary>Sessions of a state directory that a process without a host takes up again.</summary>
public sealed class SessionResumingTests : IAsyncDisposable
{
    private readonly TempFolder _folder = new();
    private LocalOwner _owner = new(new MountedDisks(), HostRig.NoGuard);

    public SessionResumingTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "sessions are kept on Linux");

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task An_image_is_opened_again_within_the_bounds_that_it_was_opened_with(bool isUntrusted, bool allowsOutsideDataFile)
    {
        await MountAsync("vm", ImageFormat.Qcow2, isUntrusted, allowsOutsideDataFile);
        await StartAsync("vm");

        await EndProcessAsync();
        SessionInfo session = Assert.Single(await ResumeAsync());

        Assert.Equal(SessionState.Active, session.State);
        ImageOpenOptions openedWith = _owner.Mounted.Find("vm").Storage.OpenedWith;
        Assert.Equal(isUntrusted, openedWith.Untrusted is not null);
        Assert.Equal(allowsOutsideDataFile, openedWith.AllowsOutsideDataFile);
    }

    [Fact]
    public async Task A_session_that_is_not_known_may_come_with_the_disks_that_a_starting_host_still_mounts()
    {
        _owner.Kept.DisksToCome = () => ["vm", "web"];
        _owner.Kept.Use(_folder.File("state"));

        foreach (Func<Task> ask in (Func<Task>[])[
            async () => await _owner.Sessions.FindSessionAsync(new SessionReference("night"), Token),
            async () => await _owner.Sessions.FindSessionAsync(null, Token),
            async () => await _owner.Sessions.ResumeSessionsAsync(new SessionReference("night"), statePath: null, Token),
            async () => await _owner.Sessions.RemoveLostSessionAsync(new SessionReference("night"), Token)])
        {
            BlockException unknown = await Assert.ThrowsAsync<BlockException>(ask);
            Assert.Equal(DiskErrors.SessionUnknown, unknown.Kind);
            Assert.Contains("host is starting: it still mounts 'vm', 'web'", unknown.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_disk_is_opened_in_the_format_that_it_had_whatever_its_guest_has_written_there()
    {
        await MountAsync("vm", ImageFormat.Raw);
        await StartAsync("vm");
        await _owner.Mounted.Find("vm").Device.WriteAsync(0, "QFI\u00fb\0\0\0\u0003"u8.ToArray(), default, Token);

        await EndProcessAsync();

        Assert.Equal(SessionState.Active, Assert.Single(await ResumeAsync()).State);
        Assert.Equal(ImageFormat.Raw, _owner.Mounted.Find("vm").Storage.Format);
    }

    [Fact]
    public async Task A_disk_that_cant_be_mounted_is_told_and_the_session_of_the_next_one_goes_on()
    {
        foreach (string name in (string[])["a", "b"])
        {
            await MountAsync(name, ImageFormat.Raw);
            await StartAsync(name);
        }

        await EndProcessAsync();
        using (LocalFile.Open(_folder.File("a.img"), isReadOnly: false))
        {
            IReadOnlyList<SessionInfo> sessions = await ResumeAsync();

            Assert.Equal(["b/night", "a/night"], sessions.Select(session => session.Id));
            Assert.Equal([SessionState.Active, SessionState.Lost], sessions.Select(session => session.State));
            Assert.Contains("can't be mounted", sessions[1].BrokenBy, StringComparison.Ordinal);
        }

        Assert.Equal([SessionState.Active, SessionState.Active], (await ResumeAsync()).Select(session => session.State));
    }

    [Fact]
    public async Task A_session_of_a_module_that_was_removed_goes_on_when_the_module_is_there_again()
    {
        await MountAsync("vm", ImageFormat.Vhdx);
        await StartAsync("vm");

        await _owner.Mounted.SuspendAllAsync();

        Assert.Empty(_owner.Mounted.All);
        Assert.Equal(SessionState.Active, Assert.Single(await ResumeAsync()).State);
    }

    [Fact]
    public async Task A_session_without_its_old_data_is_told_with_the_reason()
    {
        await MountAsync("vm", ImageFormat.Raw);
        await StartAsync("vm");
        await EndProcessAsync();
        string temp = Assert.Single(Directory.GetFiles(_folder.Path, "*.fleece-kept-temp"));
        File.Delete(temp);

        SessionInfo session = Assert.Single(await ResumeAsync());

        Assert.Equal(SessionState.Lost, session.State);
        Assert.True(session.CanResume);
        Assert.Contains(temp, session.BrokenBy, StringComparison.Ordinal);
        Assert.Empty(_owner.Mounted.All);
    }

    [Fact]
    public async Task A_session_waits_while_its_image_is_missing()
    {
        await MountAsync("vm", ImageFormat.Raw);
        await StartAsync("vm");
        await EndProcessAsync();
        string image = _folder.File("vm.img");
        File.Move(image, image + ".away");

        SessionInfo session = Assert.Single(await ResumeAsync());
        Assert.Equal((SessionState.Lost, true, null), (session.State, session.CanResume, session.CannotResumeReason));
        Assert.Contains("waits to be resumed", RunningSessions.Lost(session).Message, StringComparison.Ordinal);
        Assert.Contains($"'{image}' is not there", session.BrokenBy, StringComparison.Ordinal);

        File.Move(image + ".away", image);
        Assert.Equal(SessionState.Active, Assert.Single(await ResumeAsync()).State);
    }

    [Fact]
    public async Task To_remove_a_session_that_has_come_back_is_refused_and_it_runs_on()
    {
        await MountAsync("vm", ImageFormat.Raw);
        await StartAsync("vm");
        await EndProcessAsync();
        SessionInfo running = Assert.Single(await ResumeAsync());

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () =>
            await _owner.Sessions.RemoveLostSessionAsync(new SessionReference(running.Id, running.InstantId), CancellationToken.None));

        Assert.Equal(DiskErrors.RecordStale, refusal.Kind);
        Assert.Contains("has come back", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(SessionState.Active, Assert.Single(await ResumeAsync()).State);
    }

    [Fact]
    public void A_state_directory_that_is_a_file_is_none()
    {
        string file = _folder.NewFile();
        File.WriteAllText(file, "x");

        BlockException refusal = Assert.Throws<BlockException>(() => new KeptSessions(own: null).UsePresent(file));

        Assert.Equal(BlockErrors.InvalidArgument, refusal.Kind);
        Assert.Contains("is a file", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_state_directory_that_the_user_may_not_look_into_is_not_called_empty()
    {
        ThreadUser.Need();
        string state = Directory.CreateTempSubdirectory("fleece-state-").FullName; // Of mode 0700.
        try
        {
            Directory.CreateDirectory(Path.Combine(state, "sessions"));

            BlockException refusal = ThreadUser.Run(ThreadUser.Nobody, [], () =>
                Assert.Throws<BlockException>(() => new KeptSessions(own: null).UsePresent(state)));

            Assert.Equal(BlockErrors.PermissionDenied, refusal.Kind);
            Assert.Equal(state, refusal.Path);
        }
        finally
        {
            Directory.Delete(state, recursive: true);
        }
    }

    [Fact]
    public void Force_takes_no_name_that_a_running_and_a_lost_session_have()
    {
        SessionInfo running = new() { Name = "night", Id = "vm/night", State = SessionState.Active };
        SessionInfo lost = running with { State = SessionState.Lost };

        foreach (string name in (string[])["night", "vm/night"])
        {
            BlockException refusal = Assert.Throws<BlockException>(() => RunningSessions.CheckOneToForce(name, [running, lost]));
            Assert.Equal(DiskErrors.SessionAmbiguous, refusal.Kind);
            Assert.Contains(
                "Get-FleeceSession 'vm/night' | Where-Object State -EQ Lost | Stop-FleeceSession -Force",
                refusal.Message,
                StringComparison.Ordinal);
        }

        RunningSessions.CheckOneToForce("vm/night", [running, lost with { Id = "other/night" }]);
        RunningSessions.CheckOneToForce("night", [lost]);
        RunningSessions.CheckOneToForce("night", [running, running]);
    }

    public async ValueTask DisposeAsync()
    {
        await _owner.Mounted.DisposeAsync();
        await _owner.DisposeAsync();
        _folder.Dispose();
    }

    private async Task MountAsync(string name, ImageFormat format, bool isUntrusted = false, bool allowsOutsideDataFile = false)
    {
        string path = _folder.File($"{name}.img");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = 1 << 20 }, Token);
        await _owner.Disks.MountAsync(
            new MountRequest
            {
                Address = path,
                Name = name,
                Format = format,
                IsUntrusted = isUntrusted,
                AllowsOutsideDataFile = allowsOutsideDataFile,
            },
            Token);
    }

    private async Task StartAsync(string disk) => await _owner.Sessions.StartSessionsAsync(
        new SessionRequest { Disks = [new DiskReference(disk)], Name = "night", StatePath = _folder.File("state") }, Token);

    private async Task EndProcessAsync()
    {
        await _owner.Mounted.EndAsync();
        await _owner.DisposeAsync();
        _owner = new LocalOwner(new MountedDisks(), HostRig.NoGuard);
    }

    private async Task<IReadOnlyList<SessionInfo>> ResumeAsync() =>
        await _owner.Sessions.ResumeSessionsAsync(session: null, _folder.File("state"), Token);
}
