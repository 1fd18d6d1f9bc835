// SPDX-License-Identifier: MIT
using Fleece.TestKit;
namespace Fleece.Peers.Tests;

/// <summary>libnbd driven request by request from Python, with what a client needs who breaks the rules on purpose.</summary>
internal static class Libnbd
{
    // A Python that was installed beside the system's does not see the system's modules.
    private static readonly string[] Interpreters = ["/usr/bin/python3", "python3"];

    private const string Prelude = """
        import nbd, sys
        def connect(uri, strict=True):
            h = nbd.NBD()
            if not strict:
                h.set_strict_mode(0)
            h.add_meta_context("base:allocation")
            h.add_meta_context("fleece:access")
            h.connect_uri(uri)
            return h
        def refused(what, errno):
            try:
                what()
            except nbd.Error as e:
                assert e.errno == errno, f"{e.errno}: {e.string}"
            else:
                assert False, "it was not refused"
        def status(h, context, offset, length):
            runs = []
            def extent(metacontext, at, entries, err):
                if metacontext == context:
                    runs.extend(zip(entries[0::2], entries[1::2]))
            h.block_status(length, offset, extent)
            return runs

        """;

    /// <summary>Runs a script that fails by an assertion; the addresses are its <c>sys.argv[1:]</c>.</summary>
    public static async Task RunAsync(string script, params string[] uris)
    {
        foreach (string interpreter in Interpreters.Where(Peer.Has))
        {
            if ((await Peer.TryRunAsync(interpreter, "-c", "import nbd")).ExitCode == 0)
            {
                await Peer.RunAsync(interpreter, ["-c", Prelude + script, .. uris]);
                return;
            }
        }

        Assert.Skip("no Python with the module nbd is installed here (package python3-libnbd)");
    }
}
