// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece.Resuming.Tests.Serving;

/// <summary>One request to a host, for scripts: tests/peers/resume uses it.</summary>
internal static class ControlVerb
{
    /// <summary>The first argument; the host's socket and the request follow.</summary>
    public const string Verb = "control";

    /// <summary>mount IMAGE DISK LISTENER, start DISK SESSION FOLDER, list, stop DISK/SESSION.</summary>
    public static async Task<int> RunAsync(string socketPath, string[] request)
    {
        await using ControlClient client = await ControlClient.ConnectAsync(socketPath);
        switch (request)
        {
            case ["mount", var path, var name, var listener]:
                await client.MountAsync(new MountRequest
                {
                    Address = path,
                    Name = name,
                    Listeners = [new ListenRequest { ListenUri = $"nbd+unix:///?socket={listener}" }],
                });
                return 0;
            case ["start", var disk, var session, var folder]:
                await client.StartSessionsAsync(
                    new SessionRequest { Disks = [new DiskReference(disk)], Name = session, TempPath = folder });
                return 0;
            case ["list"]:
                foreach (SessionInfo info in await client.ListSessionsAsync())
                {
                    Console.WriteLine($"{info.Id} {info.State} {info.InstantId} {info.CopiedBytes} bytes copied {info.BrokenBy}");
                }

                return 0;
            case ["stop", var id]:
                SessionInfo stopped = (await client.ListSessionsAsync()).Single(info => info.Id == id);
                await client.StopSessionAsync(id, stopped.InstantId, isSuccess: true);
                return 0;
            default:
                Console.Error.WriteLine("control SOCKET mount IMAGE DISK LISTENER | start DISK SESSION FOLDER | list | stop DISK/SESSION");
                return 2;
        }
    }
}
