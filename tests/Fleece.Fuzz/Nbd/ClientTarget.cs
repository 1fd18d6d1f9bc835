// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Fuzz.Nbd;

/// <summary>All that a server sends to the client, however it was asked.</summary>
/// <remarks>
/// The oracle: the client ends with an error that a server deserves, or its requests come back, and the runs it is told are ones
/// of the range it asked for. It never waits for more once the server has left.
/// </remarks>
internal sealed class ClientTarget : FuzzTarget
{
    private const int TalkBytes = 8192;

    private static readonly string[] Refusals =
    [
        NbdErrors.ProtocolViolated, NbdErrors.ConnectionLost, NbdErrors.ConnectFailed, NbdErrors.TlsFailed,
        NbdErrors.ExportUnknown, ImageErrors.EmptyImage, ImageErrors.BadImageSize, BlockErrors.Unsupported,
        BlockErrors.PermissionDenied, BlockErrors.ReadOnly, BlockErrors.OutOfRange, BlockErrors.Misaligned,

        // What a server may answer to a request (docs/errors.md).
        BlockErrors.Denied, BlockErrors.NoSpace, BlockErrors.Closed, BlockErrors.IoFailed,
        BlockErrors.InvalidArgument,
    ];

    /// <inheritdoc/>
    public override string Name => "nbd-client";

    /// <inheritdoc/>
    public override int SmokeCases => 600;

    /// <summary>The requests of each input, in an order that never changes, so that recorded answers fit them.</summary>
    public static async Task TalkAsync(NbdUri uri)
    {
        NbdNodeOptions options = new() { MaximumConnections = 1, ReconnectTimeout = TimeSpan.Zero };
        await using NbdNode node = await NbdNode.ConnectAsync(uri, options, CancellationToken.None).ConfigureAwait(false);
        if (node.Identity.Values.Any(value => !IdentityNames.CanTell(value)))
        {
            throw new FuzzFindingException("An identity with a value that can't be told.");
        }

        _ = ExportIdentity.Read(uri, node.Identity);
        long sizeBytes = node.Geometry.LengthBytes;
        long alignmentBytes = Math.Max(1, node.Geometry.RequestAlignmentBytes);
        long lengthBytes = Math.Min(sizeBytes, Math.Max(alignmentBytes, TalkBytes));
        BlockStatusRun run = await node.GetStatusAsync(0, lengthBytes, CancellationToken.None).ConfigureAwait(false);
        if (run.LengthBytes < Math.Min(1, lengthBytes) || run.LengthBytes > lengthBytes)
        {
            throw new FuzzFindingException($"A run of {run.LengthBytes} bytes in a range of {lengthBytes}.");
        }

        byte[] buffer = new byte[lengthBytes];
        await node.ReadAsync(0, buffer, CancellationToken.None).ConfigureAwait(false);
        Memory<byte> leastBytes = buffer.AsMemory(0, (int)Math.Min(lengthBytes, alignmentBytes));
        await node.ReadAsync(0, leastBytes, CancellationToken.None).ConfigureAwait(false);
        await node.WriteAsync(0, buffer, WriteFlags.None, CancellationToken.None).ConfigureAwait(false);
        await node.WriteZeroesAsync(0, lengthBytes, WriteFlags.None, CancellationToken.None).ConfigureAwait(false);
        await node.DiscardAsync(0, lengthBytes, CancellationToken.None).ConfigureAwait(false);
        await node.FlushAsync(CancellationToken.None).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    protected override async ValueTask JudgeAsync(byte[] input)
    {
        using TempFolder folder = new();
        string socketPath = folder.File("s");
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(socketPath));
        listener.Listen();
        Task serving = ServeAsync(listener, input);
        try
        {
            await TalkAsync(NbdUri.Parse($"nbd+unix:///disk?socket={socketPath}")).ConfigureAwait(false);
        }
        catch (BlockException refusal) when (Refusals.Contains(refusal.Kind))
        {
            // Deserved.
        }

        await serving.ConfigureAwait(false);
    }

    // Sends everything at once, however it is asked, and says that no more will come; listens until the client leaves.
    private static async Task ServeAsync(Socket listener, byte[] input)
    {
        using Socket client = await listener.AcceptAsync().ConfigureAwait(false);
        Task sending = SendAsync(client, input);
        try
        {
            byte[] ignored = new byte[65536];
            while (await client.ReceiveAsync(ignored).ConfigureAwait(false) != 0)
            {
                // What the client asks changes nothing.
            }
        }
        catch (SocketException)
        {
            // The client left with answers unread, which is its right.
        }

        // What the client did not take is dropped.
        client.Close();
        await sending.ConfigureAwait(false);
    }

    private static async Task SendAsync(Socket client, byte[] input)
    {
        try
        {
            for (int at = 0; at < input.Length;)
            {
                at += await client.SendAsync(input.AsMemory(at)).ConfigureAwait(false);
            }

            client.Shutdown(SocketShutdown.Send);
        }
        catch (Exception left) when (left is SocketException or ObjectDisposedException)
        {
            return;
        }
    }
}
