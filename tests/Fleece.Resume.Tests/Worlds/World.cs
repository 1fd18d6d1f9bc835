// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Globalization;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Resuming.Tests.Serving;
using Fleece.Resuming.Tests.Truth;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests.Worlds;

/// <summary>A host with its disks, and the truth about them.</summary>
internal sealed class World : IAsyncDisposable
{
    /// <summary>The file that fills a file system up.</summary>
    public const string BallastName = "ballast";

    private const int TrailLines = 80;
    private const int RepeatLines = 5;

    private readonly TempFolder _folder = new();
    private readonly ConcurrentQueue<string> _trail = new();
    private HostChild? _spare;
    private long _lastWrite;
    private int _lastName;

    private World(Seeds seeds, WorldOptions options)
    {
        Seeds = seeds;
        Options = options;
        ImageFolder = options.ImageFolder ?? Directory.CreateDirectory(_folder.File("images")).FullName;
        TempFolder = options.TempFolder ?? Directory.CreateDirectory(_folder.File("temp")).FullName;
        Place = new HostPlace(options.StatePath ?? _folder.File("state"), _folder.File("h.sock"), _folder.File("host.log"));
    }

    public Seeds Seeds { get; }

    public WorldOptions Options { get; }

    public HostPlace Place { get; }

    public string ImageFolder { get; }

    public string TempFolder { get; }

    public List<WorldDisk> Disks { get; } = [];

    /// <summary>The host that runs now.</summary>
    public HostChild Child { get; private set; } = null!;

    /// <summary>The connection of the operator.</summary>
    public ControlClient Control { get; private set; } = null!;

    /// <summary>The sessions of all disks.</summary>
    public IReadOnlyList<SessionTruth> Sessions => [.. Disks.SelectMany(disk =>
    {
        lock (disk.Truth.Lock)
        {
            return disk.Truth.Sessions.ToArray();
        }
    })];

    /// <summary>Makes the images, starts the host, and mounts them.</summary>
    public static async Task<World> CreateAsync(Seeds seeds, WorldOptions options)
    {
        World world = new(seeds, options);
        try
        {
            for (int i = 0; i < options.Kinds.Count; i++)
            {
                DiskTruth truth = new($"d{i}{options.Kinds[i]}", (int)(options.DiskBytes / Sectors.SizeBytes));
                string path = await DiskImages.CreateAsync(options.Kinds[i], world.ImageFolder, truth, world.NextWrite());
                world.Disks.Add(new WorldDisk(truth, options.Kinds[i], path, world._folder.File($"{i}.sock")));
            }

            if (!await world.TryStartAsync(killAt: string.Empty))
            {
                throw new Finding("The first start of the host failed");
            }

            foreach (WorldDisk disk in world.Disks)
            {
                await world.Control.MountAsync(new MountRequest
                {
                    Address = disk.Path,
                    Name = disk.Name,
                    Listeners = [new ListenRequest { ListenUri = $"nbd+unix:///?socket={disk.SocketPath}" }],
                });
            }

            return world;
        }
        catch
        {
            await world.DisposeAsync();
            throw;
        }
    }

    /// <summary>A write that no other one was.</summary>
    public ulong NextWrite() => (ulong)Interlocked.Increment(ref _lastWrite);

    /// <summary>A name that nothing else has.</summary>
    public string NextName(string prefix) => string.Create(CultureInfo.InvariantCulture, $"{prefix}{Interlocked.Increment(ref _lastName)}");

    /// <summary>As <see cref="Note"/>, for an event that comes so often that it would leave room for nothing else: not when one of the last
    /// few was the same.</summary>
    public void NoteFrequent(string text)
    {
        if (!_trail.TakeLast(RepeatLines).Any(line => line.EndsWith($" {text}", StringComparison.Ordinal)))
        {
            Note(text);
        }
    }

    /// <summary>Notes an event for the message of a finding.</summary>
    public void Note(string text)
    {
        _trail.Enqueue(string.Create(CultureInfo.InvariantCulture, $"{DateTime.UtcNow:HH:mm:ss.fff} {text}"));
        if (_trail.Count > TrailLines)
        {
            _trail.TryDequeue(out _);
        }
    }

    /// <summary>The last events, and the end of the host's log.</summary>
    public string Tell() => string.Join('\n', [.. _trail, "-- the host's log:", .. ReadLog().TakeLast(30)]);

    /// <summary>Starts the host that the last one was followed by.</summary>
    /// <returns>False when it ended before it was ready, as at the step.</returns>
    public async Task<bool> TryStartAsync(string killAt)
    {
        HostChild child = _spare ?? HostChild.Start();
        _spare = null;
        Child?.Dispose();
        Child = child;
        if (Control is not null)
        {
            await Control.DisposeAsync();
        }

        if (!await child.ServeAsync(Place, killAt))
        {
            return false;
        }

        _spare = HostChild.Start();
        try
        {
            Control = await ControlClient.ConnectAsync(Place.SocketPath);
            return true;
        }
        catch (Exception e) when (child.HasEnded && e is Block.BlockException or System.Net.Sockets.SocketException)
        {
            return false;
        }
    }

    /// <summary>The sessions as the host lists them.</summary>
    public async Task<IReadOnlyList<SessionInfo>> ListSessionsAsync() => await Control.ListSessionsAsync();

    public async ValueTask DisposeAsync()
    {
        if (Control is not null)
        {
            await Control.DisposeAsync();
        }

        Child?.Dispose();
        _spare?.Dispose();
        if (Options.KeepsFolder)
        {
            return;
        }

        _folder.Dispose();
    }

    private string[] ReadLog() => File.Exists(Place.LogPath) ? File.ReadAllLines(Place.LogPath) : [];
}

/// <summary>How a world is made.</summary>
internal sealed record WorldOptions(IReadOnlyList<DiskKind> Kinds)
{
    /// <summary>Size of each disk.</summary>
    public long DiskBytes { get; init; } = 8 << 20;

    /// <summary>Where images go; null for a folder of the world's own.</summary>
    public string? ImageFolder { get; init; }

    /// <summary>Where old data goes that does not lie beside the image; null for a folder of the world's own.</summary>
    public string? TempFolder { get; init; }

    /// <summary>The state directory; null for one of the world's own.</summary>
    public string? StatePath { get; init; }

    /// <summary>The file system that fills up now and then; null for none.</summary>
    public string? FullFolder { get; init; }

    /// <summary>False where bitmaps can't be kept, as where their files find no room.</summary>
    public bool HasBitmaps { get; init; } = true;

    /// <summary>True to leave the files for a look at them.</summary>
    public bool KeepsFolder { get; init; }
}
