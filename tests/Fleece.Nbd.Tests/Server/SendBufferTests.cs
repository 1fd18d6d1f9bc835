// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Nbd.Server.Listening;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>How much the system keeps for a client that has not received it.</summary>
public sealed class SendBufferTests : IDisposable
{
    private const int AskedBytes = 1024 * 1024;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_server_gives_its_clients_sockets_the_send_buffer_of_its_options()
    {
        using Socket other = NewSocket();
        int usualBytes = other.SendBufferSize;
        other.SendBufferSize = AskedBytes;
        Assert.SkipWhen(other.SendBufferSize == usualBytes, "the system gives no other send buffer than its usual one");

        Assert.Equal(other.SendBufferSize, AcceptedBytes(AskedBytes));
        Assert.Equal(usualBytes, AcceptedBytes(null));
    }

    private int AcceptedBytes(int? sendBufferBytes)
    {
        NbdUri uri = NbdUri.Parse($"nbd+unix:///?socket={Uri.EscapeDataString(_folder.File("socket"))}");
        using ListenSocket listener = ListenSocket.Open(
            uri, new ListenOptions(null, null, AllowInsecure: false, CanLeave: false, sendBufferBytes));
        using Socket client = NewSocket();
        client.Connect(new UnixDomainSocketEndPoint(uri.SocketPath!));
        using Socket accepted = listener.Accept()!;
        return accepted.SendBufferSize;
    }

    private static Socket NewSocket() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
}
