// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>What connecting says about paths and peers that are no free monitor.</summary>
public sealed class ConnectTests
{
    [Fact]
    public async Task AMissingSocketIsAGuestThatIsOff()
    {
        using TempFolder folder = new();

        Assert.Equal(QemuErrors.QemuNotRunning, (await FailAsync(folder.File("none"))).Kind);
    }

    [Fact]
    public async Task ASocketThatAKilledQemuLeftIsAGuestThatIsOff()
    {
        await using FakeMonitor monitor = new();
        monitor.StopListening();

        Assert.Equal(QemuErrors.QemuNotRunning, (await FailAsync(monitor.SocketPath)).Kind);
    }

    [Fact]
    public async Task AFileIsNoMonitor()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Other systems do not tell here.");
        using TempFolder folder = new();
        await File.WriteAllTextAsync(folder.File("text"), "text", TestContext.Current.CancellationToken);

        BlockException failure = await FailAsync(folder.File("text"));

        Assert.Equal(QemuErrors.NotQmp, failure.Kind);
        Assert.Contains("it is no socket", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFolderIsNoMonitor()
    {
        using TempFolder folder = new();

        Assert.Equal(QemuErrors.NotQmp, (await FailAsync(folder.Path)).Kind);
    }

    [Fact]
    public async Task ADatagramSocketIsNoMonitor()
    {
        using TempFolder folder = new();
        using Socket socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(folder.File("log")));

        Assert.Equal(QemuErrors.NotQmp, (await FailAsync(folder.File("log"))).Kind);
    }

    [Theory]
    [InlineData("")]
    [InlineData("/tmp/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/s")]
    public async Task APathThatNoSocketCanHaveIsRefused(string path) =>
        Assert.Equal(BlockErrors.InvalidArgument, (await FailAsync(path)).Kind);

    [Theory]
    [InlineData("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ", "QEMU 7.2.22 monitor")]
    [InlineData("NBDMAGICIHAVEOPT\0\u0003", "NBDMAGIC")]
    [InlineData("[]\r\n", "'[]")]
    [InlineData("{]", "no valid JSON")]
    [InlineData("{\"greeting\":\"hello\"}\r\n", "without a greeting")]
    [InlineData("{\"QMP\":{}}\r\n", "no version")]
    [InlineData("{\"QMP\":{\"version\":{\"qemu\":{\"major\":8,\"minor\":-1,\"micro\":99999999999}}}}\r\n", "no version")]
    [InlineData("{\"return\":{}}\r\n", "guest agent")]
    public async Task ASpeakerOfAnotherProtocolIsToldByItsFirstWords(string words, string told)
    {
        await using FakeMonitor peer = new();

        BlockException failure = await peer.FailAsync(() => peer.SendAsync(words));

        Assert.Equal(QemuErrors.NotQmp, failure.Kind);
        Assert.Contains(told, failure.Message, StringComparison.Ordinal);
        Assert.Contains(peer.SocketPath, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AGuestAgentIsToldByItsAnswerToAPing()
    {
        Peer.Need("qemu-ga");
        using TempFolder folder = new();
        await NotQmpAsync("qemu-ga", folder, "-m", "unix-listen", "-p", folder.File("socket"), "-t", folder.Path);
    }

    [Fact]
    public async Task AnNbdServerIsToldByItsFirstWords()
    {
        Peer.Need("qemu-nbd");
        using TempFolder folder = new();
        await File.WriteAllBytesAsync(folder.File("disk"), new byte[4096], TestContext.Current.CancellationToken);
        await NotQmpAsync("qemu-nbd", folder, "-f", "raw", "-k", folder.File("socket"), folder.File("disk"));
    }

    [Fact]
    public void ASystemThatRefusesAccessIsToldAsSuch() => Assert.Equal(
        BlockErrors.PermissionDenied, QmpFailures.From("/socket", new SocketException((int)SocketError.AccessDenied)).Kind);

    [Theory]
    [InlineData(" ")]
    [InlineData("{\"QMP\":")]
    [InlineData("{\"QMP\":\"")]
    [InlineData("{\"event\":\"E\",\"data\":{}}")]
    public async Task EndlessWordsEndInARefusalAndTakeBoundedMemory(string words)
    {
        await using FakeMonitor peer = new();
        string many = string.Concat(Enumerable.Repeat(words, 4000));
        ManualTime time = new();

        BlockException failure = await peer.FailAsync(
            async () =>
            {
                try
                {
                    while (true)
                    {
                        await peer.SendAsync(many);
                        time.Advance(TimeSpan.FromMilliseconds(100));
                    }
                }
                catch (SocketException)
                {
                    // The client has hung up.
                }
            },
            new QmpOptions { MaximumMessageBytes = 1 << 20, Time = time });

        Assert.Contains(failure.Kind, (string[])[QemuErrors.NotQmp, QemuErrors.MonitorBusy]);
    }

    [Fact]
    public async Task APeerThatHangsUpIsGone()
    {
        await using FakeMonitor peer = new();

        BlockException failure = await peer.FailAsync(
            () =>
            {
                peer.HangUp();
                return Task.CompletedTask;
            });

        Assert.Equal(QemuErrors.QemuGone, failure.Kind);
    }

    [Fact]
    public async Task AMonitorThatDoesNotGreetIsHeldByAnotherClient()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        Task<QmpConnection> connecting = monitor.ConnectAsync(new QmpOptions { Time = time });
        await monitor.AcceptAsync();

        await AdvanceUntilDoneAsync(time, connecting);

        BlockException failure = await Assert.ThrowsAsync<BlockException>(() => connecting);
        Assert.Equal(QemuErrors.MonitorBusy, failure.Kind);
        Assert.Contains("-qmp unix:", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AMonitorWhoseQueueIsFullIsHeldByAnotherClient()
    {
        await using FakeMonitor monitor = new(backlog: 0);
        using Socket other = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await other.ConnectAsync(new UnixDomainSocketEndPoint(monitor.SocketPath), TestContext.Current.CancellationToken);
        ManualTime time = new();
        Task<QmpConnection> connecting = monitor.ConnectAsync(new QmpOptions { Time = time });

        await AdvanceUntilDoneAsync(time, connecting);

        Assert.Equal(QemuErrors.MonitorBusy, (await Assert.ThrowsAsync<BlockException>(() => connecting)).Kind);
    }

    [Fact]
    public async Task AMonitorThatBecomesFreeInTimeIsUsed()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        Task<QmpConnection> connecting = monitor.ConnectAsync(new QmpOptions { Time = time });
        await monitor.AcceptAsync();
        while (time.ArmedTimers < 2)
        {
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }

        // Half of the time has passed, and the client has asked whether this is a guest agent.
        time.Advance(QmpOptions.Default.GreetingTimeout * 0.6);
        long ping = await monitor.ReceiveIdAsync("guest-ping");
        await monitor.SendAsync(FakeMonitor.Greeting);
        await monitor.SendAsync($$$"""{"id":{{{ping}}},"error":{"class":"CommandNotFound","desc":"Expecting capabilities"}}""" + "\r\n");
        await monitor.SendAsync(FakeMonitor.Answer(await monitor.ReceiveIdAsync("qmp_capabilities")));

        await using QmpConnection connection = await connecting;
        Assert.Equal(new QemuVersion(8, 2, 1), connection.Version);
    }

    [Fact]
    public async Task AGreetingThatBreaksOffIsNoMonitors()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        Task<QmpConnection> connecting = monitor.ConnectAsync(new QmpOptions { Time = time });
        await monitor.AcceptAsync();
        await monitor.SendAsync(FakeMonitor.Greeting[..20]);

        // The client has the bytes some time after they were sent; its question for a guest agent comes after it has looked.
        while (time.ArmedTimers < 2)
        {
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }

        time.Advance(QmpOptions.Default.GreetingTimeout * 0.6);
        await monitor.ReceiveIdAsync("guest-ping");
        await AdvanceUntilDoneAsync(time, connecting);

        Assert.Equal(QemuErrors.NotQmp, (await Assert.ThrowsAsync<BlockException>(() => connecting)).Kind);
    }

    [Fact]
    public async Task ACancelledConnectionAttemptIsCancelled()
    {
        await using FakeMonitor monitor = new();
        using CancellationTokenSource cancel = new();
        Task<QmpConnection> connecting = monitor.ConnectAsync(cancellationToken: cancel.Token);
        await monitor.AcceptAsync();

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connecting);
    }

    private static async Task NotQmpAsync(string program, TempFolder folder, params string[] arguments)
    {
        using Process process = Peer.Start(program, arguments);
        try
        {
            BlockException failure;
            do
            {
                failure = await Assert.ThrowsAsync<BlockException>(
                    () => QmpConnection.ConnectAsync(
                        folder.File("socket"),
                        new QmpOptions { GreetingTimeout = TimeSpan.FromSeconds(4) },
                        TestContext.Current.CancellationToken).AsTask());
            }
            while (failure.Kind == QemuErrors.QemuNotRunning && !process.HasExited);

            Assert.Equal(QemuErrors.NotQmp, failure.Kind);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
        }
    }

    private static async Task AdvanceUntilDoneAsync(ManualTime time, Task task)
    {
        while (!task.IsCompleted)
        {
            time.Advance(TimeSpan.FromMilliseconds(500));
            await Task.Delay(1, TestContext.Current.CancellationToken);
        }
    }

    private static Task<BlockException> FailAsync(string path) => Assert.ThrowsAsync<BlockException>(
        () => QmpConnection.ConnectAsync(path, QmpOptions.Default, TestContext.Current.CancellationToken).AsTask());
}
