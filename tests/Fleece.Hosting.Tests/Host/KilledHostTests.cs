// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Images;
using Fleece.Nbd.Client;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Host;

/// <summary>A host that is killed, and the one after it.</summary>
public sealed class KilledHostTests : IAsyncDisposable
{
    private const int SizeBytes = 4 << 20;
    private const int UnitBytes = 64 * 1024;

    private readonly HostChild _host = new();
    private readonly Seeds _seeds = Seeds.FromEnvironment();
    private readonly byte[] _disk = new byte[SizeBytes];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string ImagePath => _host.Folder.File("web.img");

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task Sessions_and_writes_that_no_flush_followed_are_there_after_a_kill(ImageFormat format)
    {
        byte[] instant = await ServeAsync(format);
        SessionInfo started = Assert.Single(await StartAsync("night"));
        await WriteAsync(units: 20);
        await _host.KillAsync();

        await _host.StartAsync();

        SessionInfo session = Assert.Single(await _host.ListSessionsAsync());
        Assert.Equal(SessionState.Active, session.State);
        Assert.Equal(started.InstantId, session.InstantId);
        Assert.NotNull(session.ResumedAt);
        Assert.Equal(_disk, await _host.ReadAsync());
        Assert.Equal(instant, await _host.ReadAsync("/night"));
        await WriteAsync(units: 20);
        Assert.Equal(instant, await _host.ReadAsync("/night"));
        await using NbdNode guest = await _host.ConnectAsync();
        await guest.FlushAsync(Stop);
    }

    [Theory]
    [InlineData("copy-in-temp:5")]
    [InlineData("image-change-not-noted:3")]
    public async Task A_kill_in_the_middle_of_a_write_loses_no_write_and_the_guest_goes_on_when_the_next_host_is_there(string step)
    {
        byte[] instant = await ServeAsync(ImageFormat.Qcow2, killAt: step);
        Task<IReadOnlyList<SessionInfo>> starting = StartAsync("night");
        await starting.ContinueWith(_ => { }, TaskScheduler.Default);
        Task writing = WriteAsync(units: 40);
        await Task.WhenAny(_host.WaitForEndAsync(), writing);
        Assert.False(writing.IsCompleted, "The step was not reached.");

        await _host.StartAsync();
        await writing;

        Assert.Equal(_disk, await _host.ReadAsync());
        if ((await _host.ListSessionsAsync()).Count != 0)
        {
            Assert.Equal(instant, await _host.ReadAsync("/night"));
        }
    }

    [Theory]
    [InlineData("start-marked", false)]
    [InlineData("start-before-running", false)]
    [InlineData("start-running", true)]
    public async Task A_start_that_was_killed_is_there_whole_or_not_at_all(string step, bool isThere)
    {
        byte[] instant = await ServeAsync(ImageFormat.Qcow2, killAt: step);
        await Assert.ThrowsAsync<BlockException>(() => StartAsync("night"));
        await _host.WaitForEndAsync();

        await _host.StartAsync();

        IReadOnlyList<SessionInfo> sessions = await _host.ListSessionsAsync();
        Assert.Equal(isThere, sessions.Any(session => session.State == SessionState.Active));
        await WriteAsync(units: 10);
        Assert.Equal(_disk, await _host.ReadAsync());
        if (isThere)
        {
            Assert.Equal(instant, await _host.ReadAsync("/night"));
        }
        else
        {
            Assert.Empty(sessions);
            Assert.Empty(Directory.GetFiles(_host.Folder.Path, "*temp*"));
            Assert.Empty(Directory.GetFiles(_host.Folder.File("state/sessions"), "*.log"));
            _ = await StartAsync("night");
        }
    }

    [Theory]
    [InlineData("resume-bitmaps")]
    [InlineData("image-replayed-journal-not-removed")]
    public async Task A_second_kill_while_the_host_starts_harms_nothing(string step)
    {
        byte[] instant = await ServeAsync(ImageFormat.Qcow2);
        _ = await StartAsync("night");
        await WriteAsync(units: 20);
        await _host.KillAsync();
        Assert.False(await _host.StartAsync(killAt: step));

        await _host.StartAsync();

        Assert.Equal(SessionState.Active, Assert.Single(await _host.ListSessionsAsync()).State);
        Assert.Equal(instant, await _host.ReadAsync("/night"));
        Assert.Equal(_disk, await _host.ReadAsync());
    }

    [Theory]
    [InlineData("suspend-stored")]
    [InlineData(null)]
    public async Task An_orderly_end_leaves_its_sessions_to_the_next_host_also_when_it_is_killed_on_the_way(string? step)
    {
        byte[] instant = await ServeAsync(ImageFormat.Vhdx, killAt: step);
        _ = await StartAsync("night");
        await WriteAsync(units: 20);
        await _host.StopAsync();

        await _host.StartAsync();

        Assert.Equal(SessionState.Active, Assert.Single(await _host.ListSessionsAsync()).State);
        Assert.Equal(instant, await _host.ReadAsync("/night"));
        Assert.Equal(_disk, await _host.ReadAsync());
        Assert.DoesNotContain("while the host was down", _host.Log, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_reader_goes_on_at_the_same_address_and_what_it_has_consumed_stays_consumed()
    {
        byte[] instant = await ServeAsync(ImageFormat.Raw);
        _ = await StartAsync("night");
        await WriteAsync(units: 40);
        await using (NbdNode reader = await _host.ConnectAsync("/night"))
        {
            await reader.DiscardAsync(0, 16 * UnitBytes, Stop);
        }

        await _host.KillAsync();
        await _host.StartAsync();

        await using NbdNode again = await _host.ConnectAsync("/night");
        byte[] rest = new byte[SizeBytes - (16 * UnitBytes)];
        await again.ReadAsync(16 * UnitBytes, rest, Stop);
        Assert.Equal(instant[(16 * UnitBytes)..], rest);
        await Assert.ThrowsAsync<BlockException>(() => again.ReadAsync(0, new byte[512], Stop).AsTask());
        Assert.Equal(16 * UnitBytes, Assert.Single(await _host.ListSessionsAsync()).ConsumedBytes);
    }

    [Fact]
    public async Task A_session_without_its_old_data_is_lost_and_its_disk_is_served()
    {
        await ServeAsync(ImageFormat.Raw);
        SessionInfo started = Assert.Single(await StartAsync("night"));
        await WriteAsync(units: 4);
        await _host.KillAsync();
        File.Delete(started.TempPath);

        await _host.StartAsync();

        SessionInfo lost = Assert.Single(await _host.ListSessionsAsync());
        Assert.Equal(SessionState.Lost, lost.State);
        Assert.Contains(started.TempPath, lost.BrokenBy, StringComparison.Ordinal);
        Assert.Equal(_disk, await _host.ReadAsync());
        Assert.Contains("session web/night is lost", _host.Log, StringComparison.Ordinal);
        SessionReference reference = new("web/night");
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => _host.Client.CallAsync<SessionInfo>(
            nameof(ISessionControl.StopSessionAsync), new { session = reference, isSuccess = false }));
        Assert.Contains("-Force", refused.Message, StringComparison.Ordinal);
        IReadOnlyList<SessionInfo> resumed = await _host.Client.CallAsync<IReadOnlyList<SessionInfo>>(
            nameof(ISessionControl.ResumeSessionsAsync), new { session = reference, statePath = (string?)null });
        Assert.Equal(SessionState.Lost, Assert.Single(resumed).State);

        await _host.Client.CallAsync<SessionInfo>(nameof(ISessionControl.RemoveLostSessionAsync), new { session = reference });

        Assert.Empty(await _host.ListSessionsAsync());
        Assert.Empty(Directory.GetFiles(_host.Folder.File("state/sessions"), "*.log"));
        _ = await StartAsync("night");
    }

    [Fact]
    public async Task A_session_of_a_job_does_not_come_back()
    {
        await ServeAsync(ImageFormat.Raw);
        SessionInfo session = await _host.Client.BeginJobSessionAsync("web", name: "job");
        Assert.False(session.CanResume);
        await WriteAsync(units: 4);
        await _host.KillAsync();

        await _host.StartAsync();

        Assert.Empty(await _host.ListSessionsAsync());
        Assert.Empty(Directory.GetFiles(_host.Folder.Path, "*temp*"));
    }

    [Fact]
    public async Task A_mount_that_discards_sessions_leaves_nothing_of_them()
    {
        await ServeAsync(ImageFormat.Raw);
        _ = await StartAsync("night");
        await WriteAsync(units: 4);
        await _host.KillAsync();
        File.Move(ImagePath, ImagePath + ".away");
        await _host.StartAsync();
        Assert.Equal(SessionState.Lost, Assert.Single(await _host.ListSessionsAsync()).State);
        await _host.Client.DismountAsync("web");
        File.Move(ImagePath + ".away", ImagePath);

        await _host.Client.MountAsync(
            new MountRequest { Address = ImagePath, Name = "web", Format = ImageFormat.Raw, DiscardsSessions = true });

        Assert.Empty(await _host.ListSessionsAsync());
        Assert.Empty(Directory.GetFiles(_host.Folder.Path, "*temp*"));
        Assert.Empty(Directory.GetFiles(_host.Folder.Path, "*.fleece-sessions"));
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    // The content at the instant of the sessions that are started before the first write.
    private async Task<byte[]> ServeAsync(ImageFormat format, string? killAt = null)
    {
        await Image.CreateAsync(ImagePath, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes }, Stop);
        await _host.StartAsync();
        await _host.Client.MountAsync(new MountRequest
        {
            Address = ImagePath,
            Name = "web",
            Format = format,
            Listeners = [new ListenRequest { ListenUri = _host.ListenUri }],
        });
        await WriteAsync(units: 30);
        if (killAt is not null)
        {
            await _host.StopAsync();
            await _host.StartAsync(killAt);
        }

        return [.. _disk];
    }

    private Task<IReadOnlyList<SessionInfo>> StartAsync(string name) => _host.Client.CallAsync<IReadOnlyList<SessionInfo>>(
        nameof(ISessionControl.StartSessionsAsync),
        new { request = new SessionRequest { Disks = [new DiskReference("web")], Name = name } });

    // No flush follows.
    private async Task WriteAsync(int units)
    {
        await using NbdNode guest = await _host.ConnectAsync();
        for (int written = 0; written < units; written++)
        {
            int at = _seeds.Next(SizeBytes / UnitBytes) * UnitBytes;
            byte[] data = _seeds.Bytes(UnitBytes);
            await guest.WriteAsync(at, data, WriteFlags.None, Stop);
            data.CopyTo(_disk, at);
        }
    }
}
