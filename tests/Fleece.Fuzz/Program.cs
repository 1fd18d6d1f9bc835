// SPDX-License-Identifier: MIT
using System.Globalization;
using SharpFuzz;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Fleece.Fuzz;

/// <summary>
/// Without a verb of its own this is a test program like the others. "afl TARGET" serves afl-fuzz, "seeds TARGET FOLDER" writes
/// what it starts from, "images FORMAT FOLDER" makes those of the corpus that Fleece makes itself, "replay TARGET FILE..." runs inputs once, "talk URI" is the conversation of the target nbd-client.
/// </summary>
internal static class Program
{
    private static readonly string[] RunnerSwitches = ["--server", "--internal-msbuild-node"];

    private static Task<int> Main(string[] args) => args switch
    {
        ["afl", var name] => Task.FromResult(ServeAfl(name)),
        ["seeds", var name, var folder] => Task.FromResult(WriteSeeds(FuzzTargets.Find(name), folder)),
        ["images", var name, var folder] => Task.FromResult(WriteImages(name, folder)),
        ["mutate", var name, var seconds, var folder] => LongRun.RunAsync(
            FuzzTargets.Find(name), TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture)), folder),
        ["replay", var name, .. var files] => ReplayAsync(FuzzTargets.Find(name), files),
        ["talk", var uri] => TalkAsync(uri),
        _ when args.Any(RunnerSwitches.Contains) =>
            TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions),
        _ => ConsoleRunner.Run(args),
    };

    // The fuzzer's own loop is synchronous and runs in a process that does nothing else, so blocking harms nobody. Instrumented
    // code has nowhere to count before the loop runs, so nothing of it is touched until then.
    private static int ServeAfl(string name)
    {
        FuzzTarget? target = null;
        Fuzzer.OutOfProcess.Run(stream =>
        {
            target ??= FuzzTargets.Find(name);
            using MemoryStream input = new();
            stream.CopyTo(input);
            target.RunAsync(input.ToArray()).AsTask().GetAwaiter().GetResult();
        });
        return 0;
    }

    private static int WriteSeeds(FuzzTarget target, string folder)
    {
        Directory.CreateDirectory(folder);
        IReadOnlyList<byte[]> seeds = target.Seeds();
        for (int index = 0; index < seeds.Count; index++)
        {
            File.WriteAllBytes(Path.Combine(folder, $"{index:D3}.bin"), target.Pack(seeds[index]));
        }

        return 0;
    }

    private static int WriteImages(string name, string folder)
    {
        Directory.CreateDirectory(folder);
        IEnumerable<(string File, byte[] Bytes)> made = name switch
        {
            "sidecar" => Bitmaps.SidecarCorpus.Make(),
            "session-log" => Sessions.SessionCorpus.Make(),
            "journal" => Journals.JournalCorpus.Make(),
            _ => Images.CorpusImages.Make(name),
        };
        foreach ((string file, byte[] bytes) in made)
        {
            string path = Path.Combine(folder, file + ".bin");
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, Images.SparseForm.Pack(bytes));
        }

        return 0;
    }

    private static async Task<int> ReplayAsync(FuzzTarget target, string[] files)
    {
        foreach (string file in files)
        {
            Console.WriteLine(file);
            await target.RunAsync(await File.ReadAllBytesAsync(file));
        }

        return 0;
    }

    private static async Task<int> TalkAsync(string uri)
    {
        await Nbd.ClientTarget.TalkAsync(Fleece.Nbd.NbdUri.Parse(uri));
        return 0;
    }
}
