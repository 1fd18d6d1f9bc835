// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>A temp image that nbdkit serves, and that answers nothing for as long as a test likes (nbdkit's pause filter).</summary>
internal sealed class PausedTemp : IDisposable
{
    private readonly TempFolder _folder = new();

    private PausedTemp()
    {
    }

    public string Uri => $"nbd+unix:///?socket={_folder.File("nbd.sock")}";

    /// <summary>Starts nbdkit, which answers for now; skips the test where it is missing.</summary>
    public static async Task<PausedTemp> StartAsync(long sizeBytes)
    {
        Peer.Need("nbdkit");
        PausedTemp temp = new();
        string size = sizeBytes.ToString(CultureInfo.InvariantCulture);
        await Peer.RunAsync(
            "nbdkit",
            "--unix",
            temp._folder.File("nbd.sock"),
            "--pidfile",
            temp.PidPath,
            "--filter=pause",
            "memory",
            size,
            $"pause-control={temp._folder.File("control")}");
        return temp;
    }

    /// <summary>Requests that come from now on wait; those before have been answered.</summary>
    public void Pause() => Command((byte)'p');

    /// <summary>Those that wait are answered.</summary>
    public void Resume() => Command((byte)'r');

    public void Dispose()
    {
        using Process nbdkit = Process.GetProcessById(int.Parse(File.ReadAllText(PidPath), CultureInfo.InvariantCulture));
        nbdkit.Kill();
        _folder.Dispose();
    }

    private string PidPath => _folder.File("pid");

    private void Command(byte command)
    {
        using Socket control = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        control.Connect(new UnixDomainSocketEndPoint(_folder.File("control")));
        control.Send([command]);
        byte[] answer = new byte[1];
        Assert.Equal(1, control.Receive(answer));
        Assert.Equal(char.ToUpperInvariant((char)command), (char)answer[0]);
    }
}
